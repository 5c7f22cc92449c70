// Plays one moment in a video element: the file itself where the browser can, else a stream that the server converts.

const EXTRA = 60; // seconds that a converted stream goes on for after its moment, if it is played further

export class MomentPlayer {
  /** `loops`: begin anew at the end of the moment, instead of pausing there. `onfail()` is told when nothing plays. */
  constructor(video, { loops = false, onfail = () => {} } = {}) {
    Object.assign(this, { video, loops, onfail, moment: null, origin: 0, end: 0 });
    video.addEventListener("timeupdate", () => this.onTime());
    video.addEventListener("ended", () => this.onEnd());
    video.addEventListener("error", () => this.onError());
  }

  /** Seconds in the file, whatever part of it the browser was given. */
  get time() {
    return this.moment ? this.video.currentTime + this.origin : 0;
  }

  play(moment, at = moment.start) {
    this.moment = moment;
    this.end = moment.end;
    this.isConverted = moment.plays === "converted";
    this.load(at);
  }

  load(at) {
    const { video, moment } = this;
    if (this.isConverted) {
      const end = at < this.end ? this.end : Math.min(at + EXTRA, moment.duration);
      this.origin = at;
      video.src = `play/${moment.video}?start=${at.toFixed(3)}&end=${end.toFixed(3)}`;
    } else {
      this.origin = 0;
      video.src = `video/${moment.video}#t=${at.toFixed(3)}`;
    }
    this.resume();
  }

  /** Goes to a place in the file, and plays from there; the end of the moment counts only when it is still ahead. */
  seek(at) {
    if (at >= this.end) this.end = Infinity;
    if (this.isConverted) this.load(at);
    else {
      this.video.currentTime = at;
      this.resume();
    }
  }

  resume() {
    this.video.play().catch(() => {}); // a browser that wants a click first leaves it paused
  }

  toggle() {
    if (!this.video.paused) this.video.pause();
    else if (this.video.ended && this.isConverted) this.seek(this.time);
    else this.resume();
  }

  onTime() {
    if (!this.moment || this.time < this.end || this.video.paused) return;
    if (this.loops) this.restart();
    else {
      this.end = Infinity; // to play on is to go further
      this.video.pause();
    }
  }

  onEnd() {
    if (this.loops && this.moment) this.restart();
  }

  restart() {
    if (this.isConverted) this.load(this.moment.start);
    else {
      this.video.currentTime = this.moment.start;
      this.resume();
    }
  }

  onError() {
    if (!this.moment || !this.video.getAttribute("src")) return;
    if (this.isConverted) this.onfail();
    else {
      this.isConverted = true; // a codec that this browser does not know
      this.load(Math.max(this.moment.start, this.time));
    }
  }

  stop() {
    this.moment = null;
    this.video.pause();
    this.video.removeAttribute("src");
    this.video.load(); // ends the transfer
  }
}
