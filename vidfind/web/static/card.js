// One moment in the grid: its picture, which plays when it is pointed at or has the focus, its words and its buttons.

import { icon, iconButton, make } from "./elements.js";
import { MomentPlayer } from "./player.js";
import { pictureOf } from "./server.js";
import { day, described, lastPart, percent, span } from "./words.js";

const REST = 180; // milliseconds that the pointer rests before a moment plays: to pass over it starts nothing
const POOR = 30; // percent; below, a moment fits hardly better than nonsense does
const stillness = matchMedia("(prefers-reduced-motion: reduce)");

/** A card; without a moment, the place of one that is on its way. `actions`: open, like, toggle, isChosen. */
export function makeCard(moment, index, total, actions) {
  const place = { class: "card", "data-index": index, "aria-posinset": index + 1, "aria-setsize": total };
  if (!moment) {
    return make("li", { ...place, class: "card empty" }, make("button", { type: "button", class: "shot", "aria-label": "Not loaded yet" }));
  }
  const chosen = actions.isChosen(moment);
  const shot = make("button", { type: "button", class: "shot", "aria-label": described(moment), onclick: () => actions.open(index) });
  shot.append(...pictureParts(moment).filter(Boolean));
  const card = make(
    "li",
    { ...place, class: `card${chosen ? " chosen" : ""}${moment.match < POOR && moment.match !== null ? " poor" : ""}`, "data-id": moment.id },
    shot,
    make(
      "div",
      { class: "words" },
      make("span", { class: "name", title: moment.path ?? moment.name }, moment.name),
      make(
        "span",
        { class: "acts" },
        iconButton("like", "More like this", () => actions.like(moment)),
        iconButton(chosen ? "check" : "add", "In the tray", () => actions.toggle(moment), { class: "choose", "aria-pressed": chosen, title: "Tray" }),
      ),
      make("span", { class: "about" }, about(moment)),
    ),
  );
  if (moment.plays !== "still") playOnRest(card, shot, moment);
  return card;
}

/** Shows on a card whether its moment is in the tray. */
export function markChosen(card, chosen) {
  card.classList.toggle("chosen", chosen);
  const button = card.querySelector(".choose");
  button.setAttribute("aria-pressed", chosen);
  button.replaceChildren(icon(chosen ? "check" : "add"));
}

function about(moment) {
  return [day(moment.created), moment.folder && lastPart(moment.folder), ...(moment.tags ?? [])].filter(Boolean).join(" · ");
}

function pictureParts(moment) {
  const picture = make("img", { alt: "", "data-src": pictureOf(moment, 480), decoding: "async", draggable: "false" });
  picture.addEventListener("load", () => picture.classList.add("there"));
  picture.addEventListener("error", () => {
    if (picture.getAttribute("src")) picture.replaceWith(make("span", { class: "lost" }, icon("gone"), "No picture"));
  });
  return [
    picture,
    percent(moment) ? make("span", { class: "badge match" }, percent(moment)) : null,
    moment.present === false ? make("span", { class: "badge away" }, "offline") : null,
    moment.plays === "still" ? null : make("span", { class: "badge span" }, span(moment)),
    partOf(moment),
  ];
}

/** A line that shows which part of its video the moment is; nothing for a moment that is the whole video. */
function partOf(moment) {
  const share = (moment.end - moment.start) / moment.duration;
  if (moment.plays === "still" || !(share < 0.95)) return null;
  const part = make("i");
  part.style.left = `${(100 * moment.start) / moment.duration}%`;
  part.style.width = `${100 * share}%`;
  return make("span", { class: "place" }, part);
}

const player = new MomentPlayer(make("video", { muted: true, playsinline: true, tabindex: "-1", "aria-hidden": "true" }), { loops: true });
player.video.muted = true; // the attribute of an element that a script has made does not mute it
player.video.addEventListener("playing", () => player.video.classList.add("there"));
let waiting;

function playOnRest(card, shot, moment) {
  const start = () => {
    if (stillness.matches || moment.present === false) return;
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      if (!shot.isConnected || player.video.parentElement === shot) return;
      player.video.classList.remove("there");
      shot.querySelector("img")?.after(player.video);
      player.play(moment);
    }, REST);
  };
  const stop = (event) => {
    if (event.type === "pointerleave" && card.contains(document.activeElement)) return;
    if (event.type === "focusout" && card.contains(event.relatedTarget)) return;
    stopPreview();
  };
  card.addEventListener("pointerenter", (event) => event.pointerType !== "touch" && start());
  card.addEventListener("focusin", start);
  card.addEventListener("pointerleave", stop);
  card.addEventListener("focusout", stop);
}

export function stopPreview() {
  clearTimeout(waiting);
  player.stop();
  player.video.remove();
}
