// Makes the elements of the page. Text is always text: no string ever becomes markup.

export const $ = (id) => document.getElementById(id);

/** An element with attributes, listeners (`onclick: f`) and children; attributes that are null or false are left out. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

export function icon(name) {
  const picture = document.createElementNS(SVG, "svg");
  picture.setAttribute("class", "icon");
  picture.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#i-${name}`);
  picture.append(use);
  return picture;
}

/** A button that shows an icon alone, and is named by `label`. */
export function iconButton(name, label, onclick, attributes = {}) {
  const kind = `plain ${attributes.class ?? ""}`.trim();
  return make("button", { type: "button", title: label, "aria-label": label, onclick, ...attributes, class: kind }, icon(name));
}

let fading;

/** Says something in passing, to screen readers too: a text, or an error with its remedy. */
export function say(what) {
  const text = what instanceof Error ? [what.message, what.remedy].filter(Boolean).join(" ") : what;
  const toast = $("toast");
  toast.textContent = text;
  toast.hidePopover(); // to come above a dialog that was opened since
  toast.showPopover();
  clearTimeout(fading);
  fading = setTimeout(() => toast.hidePopover(), 2500 + 40 * text.length);
}
