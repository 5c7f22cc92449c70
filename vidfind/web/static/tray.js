// The tray: chosen moments in an order of the owner's, kept while the page is open, and their export.

import { $, iconButton, make } from "./elements.js";
import { ask, pictureOf, send } from "./server.js";
import { clock, count, described, span } from "./words.js";

const KEPT = `vidfind tray ${location.pathname}`; // survives a reload, and ends with the tab; another server knows other ids
const LOOK_AGAIN = 400; // milliseconds between two questions about a running export

export class Tray {
  /** `onchange(id, chosen)` is told what was added or taken out; `words()` are those that are looked for. */
  constructor(onchange, words) {
    Object.assign(this, { onchange, words });
    this.moments = kept();
    $("export").addEventListener("submit", (event) => this.export(event));
    $("empty-tray").addEventListener("click", () => this.empty());
    this.draw();
  }

  has(moment) {
    return this.moments.some((other) => other.id === moment.id);
  }

  toggle(moment) {
    const chosen = !this.has(moment);
    this.moments = chosen ? [...this.moments, moment] : this.moments.filter((other) => other.id !== moment.id);
    this.changed();
    this.onchange(moment.id, chosen);
    return chosen;
  }

  empty() {
    const before = this.moments;
    this.moments = [];
    this.changed();
    for (const moment of before) this.onchange(moment.id, false);
  }

  move(from, to) {
    const [moment] = this.moments.splice(from, 1);
    this.moments.splice(to, 0, moment);
    this.changed();
  }

  changed() {
    sessionStorage.setItem(KEPT, JSON.stringify(this.moments));
    this.draw();
    $("job-says").textContent = "";
    $("job").hidden = true;
  }

  draw() {
    const { moments } = this;
    $("tray").hidden = !moments.length;
    $("chosen").replaceChildren(...moments.map((moment, index) => this.item(moment, index)));
    const seconds = moments.reduce((sum, moment) => sum + moment.end - moment.start, 0);
    $("chosen-size").textContent = `${count(moments.length, "moment")}, ${clock(seconds)}`;
  }

  item(moment, index) {
    const arrow = (kind, picture, words, by) =>
      iconButton(picture, `${words}: ${moment.name}`, () => this.moveKeepingFocus(index, index + by, kind), { class: kind });
    const item = make(
      "li",
      { draggable: "true", title: described(moment) },
      make("img", { src: pictureOf(moment, 240), alt: described(moment), draggable: "false" }),
      moment.plays === "still" ? null : make("span", { class: "badge" }, span(moment)),
      arrow("earlier", "back", "Earlier", -1),
      arrow("later", "next", "Later", 1),
      iconButton("close", `Take out: ${moment.name}`, () => this.takeOut(index), { class: "remove" }),
    );
    item.addEventListener("dragstart", (event) => {
      event.dataTransfer.setData("text/x-vidfind-place", String(index));
      item.classList.add("dragged");
    });
    item.addEventListener("dragend", () => item.classList.remove("dragged"));
    item.addEventListener("dragover", (event) => event.preventDefault());
    item.addEventListener("drop", (event) => {
      const from = event.dataTransfer.getData("text/x-vidfind-place");
      if (from) this.move(Number(from), index);
    });
    return item;
  }

  moveKeepingFocus(from, to, kind) {
    if (to < 0 || to >= this.moments.length) return;
    this.move(from, to);
    $("chosen").children[to].querySelector(`.${kind}`).focus();
  }

  takeOut(index) {
    this.toggle(this.moments[index]);
    const next = $("chosen").children[Math.min(index, this.moments.length - 1)];
    (next?.querySelector(".remove") ?? $("query")).focus();
  }

  async export(event) {
    event.preventDefault();
    const button = event.target.querySelector("[type=submit]");
    button.disabled = true;
    this.tell("Making it…", 0);
    try {
      const order = { moments: this.moments.map((moment) => moment.id), form: $("form").value, pad: Number($("pad").value) || 0, query: this.words() };
      const made = await send("api/export", order);
      this.tell(await this.follow(made.export));
      make("a", { href: `export/${made.export}`, download: "" }).click();
    } catch (error) {
      this.tell([error.message, error.remedy].filter(Boolean).join(" "));
      document.querySelector(".job").classList.add("wrong");
    } finally {
      button.disabled = false;
    }
  }

  /** Follows an export until it is whole, and returns what to say then. */
  async follow(job) {
    for (;;) {
      const now = await ask(`api/export/${job}`);
      if (now.state === "failed") throw Object.assign(new Error(now.error), { remedy: now.remedy });
      if (now.state === "done") return [`Done: ${now.name ?? "it"} is in your downloads.`, ...(now.remarks ?? [])].join(" ");
      this.tell("Making it…", now.total ? now.done / now.total : 0);
      await new Promise((resume) => setTimeout(resume, LOOK_AGAIN));
    }
  }

  tell(words, done = null) {
    document.querySelector(".job").classList.remove("wrong");
    if ($("job-says").textContent !== words) $("job-says").textContent = words;
    $("job").hidden = done === null;
    $("job").value = done ?? 0;
  }
}

function kept() {
  try {
    return JSON.parse(sessionStorage.getItem(KEPT)) ?? [];
  } catch {
    return [];
  }
}
