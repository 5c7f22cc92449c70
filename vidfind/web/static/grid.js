// The grid of moments. Only the cards near the window exist, so that ten thousand results scroll as well as ten.

import { makeCard } from "./card.js";

const GAP = 20;
const AHEAD = 2; // rows above and below the window
const PAUSE = 70; // milliseconds without scrolling, after which pictures and further moments are fetched

export class Grid {
  /** `onfetch(index)` is asked for moments that are not here yet; `actions` are those of the cards. */
  constructor(list, actions, onfetch) {
    Object.assign(this, { list, actions, onfetch, answers: null, cards: new Map(), active: 0 });
    new ResizeObserver(() => this.measure()).observe(list);
    addEventListener("scroll", () => this.onScroll(), { passive: true });
    list.addEventListener("focusin", (event) => this.activate(indexOf(event.target)));
    list.addEventListener("keydown", (event) => this.onKey(event));
  }

  show(answers) {
    const hadFocus = this.list.contains(document.activeElement);
    this.answers = answers;
    this.active = 0;
    this.clear();
    this.measure();
    this.fill();
    if (hadFocus) this.focus(0);
  }

  clear() {
    for (const index of [...this.cards.keys()]) this.drop(index);
  }

  get total() {
    return this.answers?.total ?? 0;
  }

  momentAt(index) {
    return this.answers?.moments[index];
  }

  /** The moment that keys act on: that of the card with the focus, else the one under the pointer. */
  get current() {
    const card = document.activeElement?.closest(".card") ?? this.list.querySelector(".card:hover");
    return card && this.momentAt(Number(card.dataset.index));
  }

  measure() {
    const width = this.list.clientWidth;
    if (!width) return;
    const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
    const [least, gap] = width < 40 * rem ? [9.5 * rem, GAP / 2] : [15.5 * rem, GAP];
    this.columns = Math.max(1, Math.floor((width + gap) / (least + gap)));
    this.width = (width - (this.columns - 1) * gap) / this.columns;
    this.step = [this.width + gap, (this.width * 9) / 16 + 3.625 * rem + gap];
    const rows = Math.ceil(this.total / this.columns);
    this.list.style.height = `${rows * this.step[1]}px`;
    for (const [index, card] of this.cards) this.place(card, index);
    this.render();
  }

  place(card, index) {
    card.style.width = `${this.width}px`;
    card.style.left = `${(index % this.columns) * this.step[0]}px`;
    card.style.top = `${Math.floor(index / this.columns) * this.step[1]}px`;
  }

  onScroll() {
    document.documentElement.classList.toggle("scrolled", scrollY > 8);
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      this.render();
      clearTimeout(this.resting);
      this.resting = setTimeout(() => this.fill(), PAUSE);
    });
  }

  /** Makes the cards near the window, and drops the others but the one with the focus. */
  render() {
    if (!this.step) return;
    const top = this.list.getBoundingClientRect().top;
    const row = (y) => Math.floor((y - top) / this.step[1]);
    const first = Math.max(0, (row(0) - AHEAD) * this.columns);
    const last = Math.min(this.total, (row(innerHeight) + 1 + AHEAD) * this.columns);
    for (const [index, card] of this.cards) {
      if ((index < first || index >= last) && !card.contains(document.activeElement)) this.drop(index);
    }
    for (let index = first; index < last; index++) if (!this.cards.has(index)) this.add(index);
  }

  add(index) {
    const card = makeCard(this.momentAt(index), index, this.total, this.actions);
    this.place(card, index);
    this.mark(card, index);
    this.cards.set(index, card);
    const following = [...this.list.children].find((other) => Number(other.dataset.index) > index);
    this.list.insertBefore(card, following ?? null); // in order, for the Tab key and screen readers
    return card;
  }

  drop(index) {
    const card = this.cards.get(index);
    card.querySelector("img")?.removeAttribute("src"); // what is still on its way is not needed
    card.remove();
    this.cards.delete(index);
  }

  /** Fetches pictures of the cards that are there, and the moments that they lack. */
  fill() {
    for (const [index, card] of this.cards) {
      const picture = card.querySelector("img[data-src]");
      if (picture) {
        picture.src = picture.dataset.src;
        picture.removeAttribute("data-src");
      } else if (!this.momentAt(index)) this.onfetch(index);
    }
  }

  /** Replaces cards that were empty until their moments came. */
  refresh() {
    this.measure(); // there may be more than were known
    for (const [index, card] of this.cards) {
      if (!card.classList.contains("empty") || !this.momentAt(index)) continue;
      const hadFocus = card.contains(document.activeElement);
      this.drop(index);
      this.add(index);
      if (hadFocus) this.focus(index);
    }
    this.fill();
  }

  /** One card is in the order of the Tab key; arrows choose which. */
  activate(index) {
    if (index === null || index === this.active) return;
    const before = this.cards.get(this.active);
    this.active = index;
    if (before) this.mark(before, -1);
    if (this.cards.has(index)) this.mark(this.cards.get(index), index);
  }

  mark(card, index) {
    for (const button of card.querySelectorAll("button")) button.tabIndex = index === this.active ? 0 : -1;
  }

  focus(index) {
    if (index < 0 || index >= this.total) return;
    const row = Math.floor(index / this.columns);
    const list = this.list.getBoundingClientRect();
    const head = document.querySelector(".top").offsetHeight;
    const tray = document.querySelector(".tray").offsetHeight;
    const top = list.top + row * this.step[1];
    if (top < head + 8) scrollBy(0, top - head - 8);
    else if (top + this.step[1] > innerHeight - tray) scrollBy(0, top + this.step[1] - innerHeight + tray);
    const card = this.cards.get(index) ?? this.add(index);
    this.activate(index);
    card.querySelector(".shot").focus({ preventScroll: true });
    this.render();
  }

  onKey(event) {
    const index = indexOf(event.target);
    if (index === null || event.altKey || event.ctrlKey || event.metaKey) return;
    const page = Math.max(1, Math.floor(innerHeight / this.step[1]) - 1) * this.columns;
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.columns, ArrowDown: this.columns, PageUp: -page, PageDown: page };
    const to = event.key === "Home" ? 0 : event.key === "End" ? this.total - 1 : index + (steps[event.key] ?? 0);
    if (to === index && !["Home", "End"].includes(event.key)) return;
    event.preventDefault();
    if (to < 0 && event.key === "ArrowUp") document.getElementById("query").focus();
    else this.focus(Math.max(0, Math.min(this.total - 1, to)));
  }
}

function indexOf(element) {
  const card = element.closest(".card");
  return card ? Number(card.dataset.index) : null;
}
