// The page: keeps the question, its answers, and what is shown of them together.

import { markChosen, stopPreview } from "./card.js";
import { $, make, say } from "./elements.js";
import { showExamples, takePictures } from "./examples.js";
import { Filters } from "./filters.js";
import { Grid } from "./grid.js";
import { Answers, isEmpty, isNarrowed, parametersOf, questionOf, withoutFilters } from "./search.js";
import { Gone, pictureOf, send } from "./server.js";
import { followStatus } from "./status.js";
import { Tray } from "./tray.js";
import { Viewer } from "./viewer.js";
import { percent } from "./words.js";

const PAUSE = 180; // milliseconds without typing, after which the words are asked for
const page = document.documentElement;
const known = new Map(); // moments that were asked for more like them, by id

let question = questionOf(location.search);
let answers = null;
let status = null;
let showing = 0; // the place of the moment at large among the results
let pause;

const tray = new Tray((id, chosen) => {
  const card = document.querySelector(`.card[data-id="${CSS.escape(id)}"]`);
  if (card) markChosen(card, chosen);
}, () => question.q);

const actions = {
  isChosen: (moment) => tray.has(moment),
  toggle(moment) {
    say(tray.toggle(moment) ? "Added to the tray." : "Taken out of the tray.");
  },
  like(moment) {
    known.set(moment.id, { name: moment.name, picture: pictureOf(moment, 160) });
    change({ q: "", picture: "", like: moment.id }, true);
    $("query").focus();
    scrollTo(0, 0);
  },
  async openInPlayer(moment) {
    try {
      await send("api/open", { moment: moment.id });
      say("It opens in your player.");
    } catch (error) {
      say(error);
    }
  },
  open(index) {
    stopPreview();
    showing = index;
    viewer.open(grid.momentAt(index));
  },
  step(by) {
    const moment = grid.momentAt(showing + by);
    if (moment) showing += by;
    return moment;
  },
  marksOf(moment) {
    const parameters = parametersOf(question);
    parameters.set("video", moment.video);
    return parameters;
  },
  closed() {
    if (grid.total && document.activeElement !== $("query")) grid.focus(showing);
  },
};

const grid = new Grid($("grid"), actions, fetchMore);
const viewer = new Viewer($("viewer"), actions);
const filters = new Filters((values) => change(values));

/** Changes the question and asks it. `isStep`: the way back leads to the question before. */
function change(values, isStep = false) {
  clearTimeout(pause);
  question = { ...question, q: $("query").value, ...values }; // with words that were typed just now
  const address = `?${parametersOf(question)}`;
  history[isStep ? "pushState" : "replaceState"](null, "", address === "?" ? location.pathname : address);
  search();
}

async function search() {
  answers?.stop.abort(); // an old answer never comes after a new one
  if ($("query").value.trim() !== question.q.trim()) $("query").value = question.q;
  filters.show(question);
  showExamples(question, (id) => known.get(id), (name) => change({ [name]: "" }));
  document.title = question.q.trim() ? `${question.q.trim()} – vidfind` : "vidfind";
  if (isEmpty(question)) return showWelcome();
  const mine = (answers = new Answers(question));
  page.classList.add("busy", "waiting");
  try {
    await mine.fetch(0);
    if (mine === answers) showAnswers();
  } catch (error) {
    if (mine === answers) showError(error);
  }
  if (mine === answers) page.classList.remove("busy", "waiting");
}

async function fetchMore(index) {
  const mine = answers;
  try {
    if ((await mine?.fetch(index)) && mine === answers) grid.refresh();
  } catch (error) {
    if (mine === answers && error.name !== "AbortError") say(error);
  }
}

function showAnswers() {
  stopPreview();
  $("remarks").replaceChildren(...answers.remarks.map((remark) => make("p", {}, remark)));
  grid.show(answers);
  const best = answers.moments[0] && percent(answers.moments[0]);
  $("count").textContent = `${answers.size}${best ? `, the best matches by ${best}` : ""}`;
  if (answers.total) return notice(null);
  notice(
    "No moment fits",
    make("p", {}, isNarrowed(question) ? "The filters may leave too little." : "Try other words, or fewer."),
    isNarrowed(question) ? make("button", { type: "button", class: "main", onclick: clearFilters }, "Clear filters") : null,
  );
  $("count").textContent = "No moment fits.";
}

function showError(error) {
  if (error.name === "AbortError" || error instanceof Gone) return; // the banner says it, and what is here stays
  stopPreview();
  $("count").textContent = "";
  $("remarks").replaceChildren();
  grid.show({ total: 0, moments: [] });
  notice(error.message, error.remedy ? make("p", {}, error.remedy) : null);
  $("notice").classList.add("wrong");
  $("notice").setAttribute("role", "alert");
}

function showWelcome() {
  answers = null;
  page.classList.remove("busy", "waiting");
  grid.show({ total: 0, moments: [] });
  $("remarks").replaceChildren();
  $("count").textContent = "";
  if (status?.videos === 0) {
    return notice("There are no videos in this index yet", make("p", {}, "Make your videos searchable, in a terminal:"), make("code", {}, status.next ?? "vidfind index ~/Videos"));
  }
  notice(
    "What do you remember?",
    make(
      "div",
      { class: "hints" },
      make("p", {}, "Type it in plain words: moments come as you type."),
      make("p", {}, "Or drop a picture or a short clip anywhere on this page."),
    ),
  );
}

function notice(title, ...parts) {
  const element = $("notice");
  element.classList.remove("wrong");
  element.removeAttribute("role");
  element.hidden = title === null;
  element.replaceChildren(...(title === null ? [] : [make("h2", {}, title), ...parts.filter(Boolean)]));
}

function clearFilters() {
  change(withoutFilters(question));
  $("query").focus();
}

$("search").addEventListener("submit", (event) => {
  event.preventDefault();
  change({ q: $("query").value }, true);
});
$("query").addEventListener("input", () => {
  clearTimeout(pause);
  pause = setTimeout(() => change({ q: $("query").value }), PAUSE);
});
$("clear-filters").addEventListener("click", clearFilters);
$("show-keys").addEventListener("click", () => $("keys").showModal());
takePictures((picture) => change({ picture, like: "" }, true), say);
addEventListener("popstate", () => {
  question = questionOf(location.search);
  search();
});
document.addEventListener("server", ({ detail: isBack }) => isBack && search());
addEventListener("beforeunload", () => answers?.stop.abort());

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || viewer.isOpen || $("keys").open) return;
  const isWriting = event.target.matches("input:not([type=checkbox], [type=range]), select, textarea");
  if (event.target === $("query") && event.key === "ArrowDown" && grid.total) grid.focus(grid.active);
  else if (event.target === $("query") && event.key === "Escape") $("query").select(); // browsers would empty it
  else if (event.target === $("query") && event.key === "?" && !$("query").value) $("keys").showModal();
  else if (event.key === "Escape" && event.target.closest(".card")) $("query").focus();
  else if (isWriting) return;
  else if (event.key === "/") $("query").select();
  else if (event.key === "?") $("keys").showModal();
  else if (event.key === "t" && !$("tray").hidden) $("chosen").querySelector("button.remove").focus();
  else if (grid.current && event.key === "e") actions.toggle(grid.current);
  else if (grid.current && event.key === "o") actions.openInPlayer(grid.current);
  else if (grid.current && event.key === "m") actions.like(grid.current);
  else return;
  event.preventDefault();
});

search();
filters.load().catch(() => {}); // the page serves without filters, too
followStatus((now, before) => {
  status = now;
  if (isEmpty(question)) showWelcome();
  else if (before && answers?.total === 0) search();
  if (before) filters.load().catch(() => {});
});
