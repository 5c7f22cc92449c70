// What is asked: words, examples and filters; their form in the address of the page; and the answers, page by page.

import { ask } from "./server.js";
import { count } from "./words.js";

export const PAGE = 60;
const FAR = "Nothing here fits well. These are the nearest.";

const NOTHING = { q: "", like: "", picture: "", in: [], since: "", until: "", tag: [], no_tag: [], is: [], min_match: "" };
const EXAMPLES = ["q", "like", "picture"];

/** A question from the address of the page. */
export function questionOf(search) {
  const given = new URLSearchParams(search);
  return Object.fromEntries(Object.entries(NOTHING).map(([name, none]) => [name, Array.isArray(none) ? given.getAll(name) : given.get(name) ?? none]));
}

export function parametersOf(question) {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(question)) {
    for (const one of [value].flat()) if (one.trim()) parameters.append(name, one.trim());
  }
  return parameters;
}

/** Whether nothing is looked for: there are neither words, nor examples, nor tags. */
export const isEmpty = (question) => !EXAMPLES.some((name) => question[name].trim()) && !question.tag.length && !question.is.length;

export const isNarrowed = (question) => Object.keys(NOTHING).some((name) => !EXAMPLES.includes(name) && question[name].length);

export const withoutFilters = (question) => ({ ...NOTHING, ...Object.fromEntries(EXAMPLES.map((name) => [name, question[name]])) });

/** The moments that answer one question. Those further down are fetched when they are wanted. */
export class Answers {
  constructor(question) {
    this.parameters = parametersOf(question);
    this.moments = [];
    this.total = 0;
    this.remarks = [];
    this.stop = new AbortController();
    this.asked = new Set();
  }

  /** The number of moments in words, as far as it is known. */
  get size() {
    return this.total > PAGE && this.asked.size === 1 ? `${PAGE}+ moments` : count(this.total, "moment");
  }

  /** Fetches the page that holds the moment at `index`, unless it is here or on its way. */
  async fetch(index) {
    const page = Math.floor(index / PAGE);
    if (this.asked.has(page)) return false;
    this.asked.add(page);
    try {
      const answer = await ask(`api/search?${this.parameters}&offset=${page * PAGE}&limit=${PAGE}`, { signal: this.stop.signal });
      answer.results.forEach((moment, at) => (this.moments[page * PAGE + at] = moment));
      this.total = Math.max(this.total, answer.total); // it grows while there are more to find
      if (!page) this.remarks = answer.nothing_fits ? [...answer.remarks, FAR] : answer.remarks;
      return true;
    } catch (error) {
      this.asked.delete(page);
      throw error;
    }
  }
}
