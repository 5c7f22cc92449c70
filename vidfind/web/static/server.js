// Asks the server. All addresses are relative to the page, whose first part is the token.

/** The server has refused; `message` says what was wrong and `remedy` what to do. */
export class Refused extends Error {
  constructor(status, { error, remedy } = {}) {
    super(error ?? `The server answered with ${status}.`);
    this.status = status;
    this.remedy = remedy ?? "";
  }
}

/** Nobody answers: vidfind has ended. */
export class Gone extends Error {
  constructor() {
    super("vidfind does not answer.");
    this.remedy = "It may have been stopped. Start it again with: vidfind web";
  }
}

/** The JSON that the server answers with. Raises Refused, Gone, or an AbortError when `signal` says so. */
export async function ask(path, { signal, method = "GET", body } = {}) {
  let answer;
  try {
    answer = await fetch(path, { signal, method, body, headers: typeof body === "string" ? { "content-type": "application/json" } : {} });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    tell(false);
    throw new Gone();
  }
  tell(true);
  const values = await answer.json().catch((error) => {
    if (error.name === "AbortError") throw error;
    return {};
  });
  if (!answer.ok) throw new Refused(answer.status, values);
  return values;
}

export const send = (path, values) => ask(path, { method: "POST", body: JSON.stringify(values) });

let answers = true;

function tell(now) {
  if (now === answers) return;
  answers = now;
  document.dispatchEvent(new CustomEvent("server", { detail: now }));
}

export const pictureOf = (moment, size) => `picture/${moment.video}?at=${(moment.at ?? moment.start).toFixed(2)}&size=${size}`;
