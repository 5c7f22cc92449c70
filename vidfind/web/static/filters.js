// The filters below the search field: buttons that say what is chosen, each with a panel.

import { $, make } from "./elements.js";
import { ask } from "./server.js";
import { isNarrowed } from "./search.js";
import { count, isoDay, lastPart } from "./words.js";

const MANY = 12; // with more folders or tags, there is a field to find one

/** Keeps the panels and the question alike. `change(values)` is told what the owner has chosen. */
export class Filters {
  constructor(change) {
    Object.assign(this, { change, folders: [], tags: [], classes: [], question: null });
    for (const panel of document.querySelectorAll(".panel")) {
      panel.addEventListener("beforetoggle", ({ newState }) => {
        placePanel(panel);
        if (newState === "open") this.showChoices();
      });
    }
    for (const name of ["since", "until"]) $(name).addEventListener("change", () => change({ [name]: $(name).value }));
    $("min-match").addEventListener("input", () => change({ min_match: $("min-match").value === "0" ? "" : $("min-match").value }));
    for (const id of ["find-folder", "find-tag"]) $(id).addEventListener("input", () => this.showChoices());
    $("date-quick").append(...quickDates().map(([words, since, until]) => quick(words, () => change({ since, until }))));
  }

  /** Asks what folders, tags and classes there are. */
  async load() {
    const [folders, tags] = await Promise.all([ask("api/folders"), ask("api/tags")]);
    Object.assign(this, { folders: folders.folders, tags: tags.tags ?? [], classes: tags.classes ?? [] });
    this.show(this.question);
  }

  show(question) {
    this.question = question;
    const { since, until, min_match } = question;
    $("since").value = since;
    $("until").value = until;
    $("min-match").value = min_match || 0;
    $("match-shown").textContent = `${min_match || 0} %`;
    if (document.querySelector(".panel:popover-open")) this.showChoices();
    const tags = [...question.tag, ...question.is, ...question.no_tag.map((tag) => `not ${tag}`)];
    label("by-folder", "Folder", question.in.map(lastPart).join(", "));
    label("by-date", "Date", period(since, until));
    label("by-tag", "Tags", tags.join(", "));
    label("by-match", "Match", min_match && `${min_match} % or more`);
    $("by-tag").hidden = !(this.tags.length || this.classes.length || tags.length);
    $("clear-filters").hidden = !isNarrowed(question);
  }

  /** Draws the folders and tags, of which there may be thousands: only while somebody looks at them. */
  showChoices() {
    this.showFolders(this.question);
    this.showTags(this.question);
  }

  showFolders(question) {
    const known = new Map(this.folders.map((folder) => [folder.path, folder.videos]));
    const paths = [...question.in.filter((path) => !known.has(path)), ...known.keys()];
    const isWanted = finder("find-folder", paths.length);
    redraw(
      $("folders"),
      paths.filter((path) => question.in.includes(path) || isWanted(path)).map((path) => {
        const row = check(path, question.in.includes(path), (on) => this.change({ in: changed(question.in, path, on) }));
        if (known.has(path)) row.append(make("span", { class: "number" }, count(known.get(path), "video")));
        return row;
      }),
    );
  }

  showTags(question) {
    const kinds = [...this.tags.map((name) => ["tag", name]), ...this.classes.map((name) => ["is", name])];
    const isWanted = finder("find-tag", kinds.length);
    redraw(
      $("tags"),
      kinds.filter(([, name]) => isWanted(name)).map(([kind, name]) => {
        const row = check(name, question[kind].includes(name), (on) => this.change({ [kind]: changed(question[kind], name, on), no_tag: changed(question.no_tag, name, false) }));
        if (kind === "is") return row;
        const without = check("without", question.no_tag.includes(name), (on) => this.change({ no_tag: changed(question.no_tag, name, on), tag: changed(question.tag, name, false) }));
        without.className = "without";
        without.firstChild.setAttribute("aria-label", `without ${name}`);
        return make("div", { class: "quick" }, row, without);
      }),
    );
  }
}

/** Returns whether a name is wanted, by what the field holds that finds one of many. */
function finder(id, many) {
  $(id).hidden = many <= MANY;
  const wanted = $(id).value.toLowerCase();
  return (name) => name.toLowerCase().includes(wanted);
}

const changed = (names, name, on) => [...names.filter((other) => other !== name), ...(on ? [name] : [])];

function check(words, on, onchange) {
  const box = make("input", { type: "checkbox", "data-key": words });
  box.checked = on;
  box.addEventListener("change", () => onchange(box.checked));
  return make("label", {}, box, words);
}

/** Replaces what an element holds, and keeps the focus on the box that had it. */
function redraw(element, children) {
  const boxes = () => [...element.querySelectorAll("input")];
  const focused = boxes().indexOf(document.activeElement);
  element.replaceChildren(...children);
  if (focused >= 0) boxes()[focused]?.focus();
}

const quick = (words, onclick) => make("button", { type: "button", class: "chip", onclick }, words);

function quickDates() {
  const now = new Date();
  const before = (days) => isoDay(new Date(now.getFullYear(), now.getMonth(), now.getDate() - days));
  const year = now.getFullYear();
  return [
    ["Any time", "", ""],
    ["Last 7 days", before(7), ""],
    ["Last 30 days", before(30), ""],
    [String(year), `${year}-01-01`, `${year}-12-31`],
    [String(year - 1), `${year - 1}-01-01`, `${year - 1}-12-31`],
  ];
}

function period(since, until) {
  const year = since.slice(0, 4);
  if (since === `${year}-01-01` && until === `${year}-12-31`) return year;
  return since && until ? `${since} to ${until}` : since ? `since ${since}` : until && `until ${until}`;
}

function label(id, name, chosen) {
  const button = $(id);
  button.textContent = chosen ? `${name}: ${chosen}` : name;
  button.classList.toggle("on", Boolean(chosen));
}

function placePanel(panel) {
  const from = document.querySelector(`[popovertarget="${panel.id}"]`).getBoundingClientRect();
  panel.style.top = `${from.bottom + 8}px`;
  panel.style.left = `${Math.max(12, Math.min(from.left, innerWidth - 404))}px`;
}
