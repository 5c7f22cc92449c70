// Writes times, dates and counts as people read them.

/** Seconds as 0:05, 12:34 or 1:02:03. */
export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds + 0.001));
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (number) => String(number).padStart(2, "0");
  return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}

export const span = (moment) => `${clock(moment.start)}–${clock(moment.end)}`;

export const count = (number, noun) => `${number.toLocaleString()} ${noun}${number === 1 ? "" : "s"}`;

export function day(created) {
  const date = created ? new Date(created) : null;
  return date && !Number.isNaN(date.valueOf()) ? date.toLocaleDateString(undefined, { dateStyle: "medium" }) : "";
}

/** A date as a field of a form wants it, in local time: 2026-11-25. */
export function isoDay(date) {
  return [date.getFullYear(), String(date.getMonth() + 1).padStart(2, "0"), String(date.getDate()).padStart(2, "0")].join("-");
}

export const percent = (moment) => (moment.match === null || moment.match === undefined ? "" : `${moment.match} %`);

/** A moment in words, for a screen reader. */
export function described(moment) {
  const parts = [moment.name, `${clock(moment.start)} to ${clock(moment.end)}`];
  if (percent(moment)) parts.push(`match ${percent(moment)}`);
  if (moment.present === false) parts.push("not there now");
  return parts.join(", ");
}

/** The last part of a path, on any system. */
export const lastPart = (path) => path.split(/[\\/]/).filter(Boolean).at(-1) ?? path;
