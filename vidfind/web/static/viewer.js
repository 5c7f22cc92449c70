// A moment at large: it plays with sound, above the timeline of its video with all moments of the query as marks.

import { icon, iconButton, make, say } from "./elements.js";
import { MomentPlayer } from "./player.js";
import { ask, pictureOf } from "./server.js";
import { clock, count, day, percent, span } from "./words.js";

/** The dialog. `actions`: like, toggle, isChosen, openInPlayer, step (to another result), marksOf (a query in words). */
export class Viewer {
  constructor(dialog, actions) {
    Object.assign(this, { dialog, actions, moment: null, marks: [] });
    this.build();
    dialog.addEventListener("close", () => this.onClose());
    dialog.addEventListener("keydown", (event) => this.onKey(event));
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  }

  build() {
    this.video = make("video", { playsinline: true, "aria-label": "The moment", onclick: () => this.player.toggle() });
    this.picture = make("img", { alt: "" });
    this.lost = make("div", { class: "lost", role: "alert", hidden: true });
    this.screen = make(
      "div",
      { class: "screen" },
      this.picture,
      this.video,
      this.lost,
      iconButton("back", "Previous result", () => this.step(-1), { class: "side back" }),
      iconButton("next", "Next result", () => this.step(1), { class: "side next" }),
      iconButton("close", "Close", () => this.dialog.close(), { class: "close" }),
    );
    this.toggle = iconButton("play", "Play", () => this.player.toggle(), { autofocus: true });
    this.mute = iconButton("sound", "Sound", () => (this.video.muted = !this.video.muted), { "aria-pressed": "true" });
    this.clock = make("span", { class: "clock" });
    const full = iconButton("full", "Full screen", () => (document.fullscreenElement ? document.exitFullscreen() : this.screen.requestFullscreen()));
    this.controls = make("div", { class: "controls" }, this.toggle, this.clock, make("span", { class: "right" }, this.mute, full));
    this.cursor = make("span", { class: "cursor" });
    this.line = make("div", { class: "line", role: "group" });
    this.seek = make("input", { class: "seek", type: "range", min: 0, step: 0.1, "aria-label": "Place in the video" });
    this.seek.addEventListener("input", () => this.player.seek(Number(this.seek.value)));
    this.name = make("h2", { id: "viewer-name" });
    this.facts = make("div", { class: "text" }, this.name);
    this.doing = make("div", { class: "do" });
    this.dialog.append(this.screen, this.controls, this.line, this.seek, make("div", { class: "facts" }, this.facts, this.doing));

    this.player = new MomentPlayer(this.video, { onfail: () => this.showLost() });
    this.video.addEventListener("timeupdate", () => this.onTime());
    for (const event of ["play", "pause", "ended"]) this.video.addEventListener(event, () => this.onState());
    this.video.addEventListener("volumechange", () => this.onVolume());
    this.video.addEventListener("playing", () => (this.picture.hidden = true));
  }

  get isOpen() {
    return this.dialog.open;
  }

  open(moment) {
    this.show(moment);
    this.marks = [];
    this.drawMarks(moment);
    if (!this.dialog.open) this.dialog.showModal();
    if (moment.plays !== "still") this.fetchMarks(moment);
  }

  show(moment) {
    this.moment = moment;
    this.lost.hidden = true;
    this.picture.hidden = false;
    this.picture.src = pictureOf(moment, 1280);
    const isStill = moment.plays === "still";
    for (const part of [this.video, this.controls, this.line, this.seek]) part.hidden = isStill;
    if (isStill) this.player.stop();
    else this.player.play(moment);
    this.seek.max = moment.duration;
    this.describe();
    this.onTime(moment.start);
  }

  describe() {
    const { moment } = this;
    this.name.textContent = moment.name;
    const about = [span(moment), percent(moment) && `match ${percent(moment)}`, day(moment.created), `${clock(moment.duration)} in all`];
    const tags = (moment.tags ?? []).map((tag) => make("span", {}, tag));
    this.facts.replaceChildren(
      this.name,
      make("p", {}, about.filter(Boolean).join(" · ")),
      make("p", {}, moment.folder ?? ""),
      ...(tags.length ? [make("div", { class: "tags" }, ...tags)] : []),
    );
    const isChosen = this.actions.isChosen(moment);
    const does = (name, text, onclick, attributes = {}) => make("button", { type: "button", class: "quiet", onclick, ...attributes }, icon(name), text);
    this.doing.replaceChildren(
      does("open", "Open in player", () => this.actions.openInPlayer(moment)),
      does(isChosen ? "check" : "add", isChosen ? "In the tray" : "Add to tray", () => this.toggleChosen(), { "aria-pressed": isChosen }),
      does("like", "More like this", () => this.like()),
      does("copy", "Copy path", () => this.copyPath()),
    );
  }

  async fetchMarks(moment) {
    try {
      const { moments } = await ask(`api/moments?${this.actions.marksOf(moment)}`);
      if (this.moment.video !== moment.video) return;
      this.marks = moments;
    } catch {
      return; // the moment plays all the same
    }
    this.drawMarks(this.moment);
  }

  drawMarks(moment) {
    const marks = [...(this.marks.length ? this.marks : [moment])].sort((one, other) => one.start - other.start);
    const best = Math.max(...marks.map((mark) => mark.match ?? 0));
    this.line.setAttribute("aria-label", `${count(marks.length, "moment")} of this video, as marks on its timeline`);
    this.line.replaceChildren(
      ...marks.map((mark) => {
        const isCurrent = mark.start === this.moment.start;
        const words = `${span(mark)}${percent(mark) && `, match ${percent(mark)}`}`;
        const button = make("button", { type: "button", class: "mark", title: words, "aria-label": words, "aria-current": isCurrent ? "true" : null });
        button.tabIndex = isCurrent ? 0 : -1;
        button.style.left = `${(100 * mark.start) / moment.duration}%`;
        button.style.width = `${(100 * (mark.end - mark.start)) / moment.duration}%`;
        button.style.height = `${best ? 30 + (70 * (mark.match ?? 0)) / best : 100}%`;
        button.addEventListener("click", () => this.goTo(mark));
        return button;
      }),
      this.cursor,
    );
  }

  goTo(mark) {
    this.show(mark);
    this.drawMarks(mark);
    this.line.querySelector("[aria-current]").focus();
  }

  onTime(time = this.player.time) {
    if (!this.moment || !this.moment.duration) return;
    this.cursor.style.left = `${Math.min(100, (100 * time) / this.moment.duration)}%`;
    if (!this.seek.matches(":active")) this.seek.value = time;
    this.seek.setAttribute("aria-valuetext", `${clock(time)} of ${clock(this.moment.duration)}`);
    this.clock.textContent = `${clock(time)} / ${clock(this.moment.duration)}`;
  }

  onState() {
    const name = this.video.paused ? "Play" : "Pause";
    this.toggle.replaceChildren(icon(name.toLowerCase()));
    this.toggle.setAttribute("aria-label", name);
    this.toggle.title = name;
  }

  onVolume() {
    this.mute.replaceChildren(icon(this.video.muted ? "mute" : "sound"));
    this.mute.setAttribute("aria-pressed", String(!this.video.muted));
  }

  showLost() {
    const gone = this.moment.present === false;
    const why = gone ? "This video is not there now." : "This video does not play.";
    const what = gone ? "Is its drive plugged in?" : "It may have been moved or deleted, or be damaged. To bring the index up to date: vidfind index";
    this.lost.replaceChildren(icon("gone"), make("strong", {}, why), make("span", {}, what));
    this.lost.hidden = false;
  }

  step(by) {
    const moment = this.actions.step(by);
    if (moment) this.open(moment);
  }

  toggleChosen() {
    this.actions.toggle(this.moment);
    this.describe();
  }

  like() {
    const { moment } = this;
    this.dialog.close();
    this.actions.like(moment);
  }

  async copyPath() {
    const { path } = this.moment;
    try {
      await navigator.clipboard.writeText(path); // browsers offer it only at local and encrypted addresses
      say("The path is copied.");
    } catch {
      say(path);
    }
  }

  onKey(event) {
    const keys = { o: () => this.actions.openInPlayer(this.moment), e: () => this.toggleChosen(), m: () => this.like() };
    const key = event.key;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest(".line") && this.moveAlong(key)) event.preventDefault();
    else if (event.target === this.seek) return;
    else if (key === "ArrowLeft" || key === "ArrowRight") this.step(key === "ArrowLeft" ? -1 : 1);
    else if (key === " " && !event.target.closest("button")) this.player.toggle();
    else if (keys[key]) keys[key]();
    else return;
    event.preventDefault();
  }

  moveAlong(key) {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[key];
    const marks = [...this.line.querySelectorAll(".mark")];
    const to = marks[marks.indexOf(document.activeElement) + by];
    to?.focus();
    return Boolean(by);
  }

  onClose() {
    this.player.stop();
    this.picture.removeAttribute("src");
    this.actions.closed(this.moment);
  }
}

