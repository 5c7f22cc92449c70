// What the head of the page says of the index: its size, a run under way, and whether the server is still there.

import { $ } from "./elements.js";
import { ask } from "./server.js";
import { count } from "./words.js";

const LOOK_AGAIN = 5000; // milliseconds
const LOOK_AGAIN_RUNNING = 1000;

/** Follows the index for ever. `onchange(status, before)` is told when videos were added or removed. */
export async function followStatus(onchange) {
  let before = null;
  for (;;) {
    if (!document.hidden) {
      try {
        const status = await ask("api/status");
        show(status);
        if (before?.videos !== status.videos || before?.segments !== status.segments) onchange(status, before);
        before = status;
      } catch {
        // the banner says it
      }
    }
    await new Promise((resume) => setTimeout(resume, before?.run ? LOOK_AGAIN_RUNNING : LOOK_AGAIN));
  }
}

function show({ videos, segments, model, run }) {
  const size = $("index-size");
  size.textContent = run ? `Indexing ${run.done} of ${run.total}` : count(videos, "video");
  size.title = [count(videos, "video"), count(segments, "segment"), model].filter(Boolean).join(", ");
  $("run").hidden = !run;
  if (run) $("run").value = run.total ? run.done / run.total : 0;
}

document.addEventListener("server", ({ detail: answers }) => {
  $("gone").hidden = answers;
  $("run").hidden = true;
  $("gone").textContent = answers ? "" : "vidfind has stopped. Start it again with “vidfind web”, and use the page that it opens.";
});
