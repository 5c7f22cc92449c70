// Search by example: a picture or clip that is dropped, pasted or chosen, or a moment of the results ("more like this").

import { $, iconButton, make } from "./elements.js";
import { ask } from "./server.js";

const PICTURES = new Map(); // what a handle of the server looks like: {name, address}

/** Listens for pictures and clips, and tells `onpicture(handle)` once the server has one; `onerror` what went wrong. */
export function takePictures(onpicture, onerror) {
  const take = async (file) => {
    if (!file) return;
    document.documentElement.classList.add("busy");
    try {
      const { picture } = await ask("api/picture", { method: "POST", body: file });
      PICTURES.set(picture, { name: file.name || "picture", address: file.type.startsWith("image/") ? URL.createObjectURL(file) : "" });
      onpicture(picture);
    } catch (error) {
      document.documentElement.classList.remove("busy");
      onerror(error);
    }
  };
  const isFile = (event) => event.dataTransfer?.types.includes("Files");
  let inside = 0; // a drag enters each element under it
  const show = (change) => {
    inside = Math.max(0, inside + change);
    $("drop").hidden = !inside;
  };
  addEventListener("dragenter", (event) => isFile(event) && show(1));
  addEventListener("dragleave", (event) => isFile(event) && show(-1));
  addEventListener("dragover", (event) => isFile(event) && event.preventDefault());
  addEventListener("drop", (event) => {
    if (!isFile(event)) return;
    event.preventDefault();
    inside = 0;
    show(0);
    take(event.dataTransfer.files[0]);
  });
  addEventListener("paste", (event) => {
    const file = event.clipboardData?.files[0];
    if (file) event.preventDefault();
    take(file);
  });
  $("pick").addEventListener("click", () => $("file").click());
  $("file").addEventListener("change", () => {
    take($("file").files[0]);
    $("file").value = "";
  });
}

/** Shows in the search field what else is asked for than words. `drop(name)` takes it out: "like" or "picture". */
export function showExamples(question, known, drop) {
  const shown = [];
  if (question.like) {
    const moment = known(question.like);
    shown.push(["like", moment ? `like ${moment.name}` : "like a moment", moment?.picture]);
  }
  if (question.picture) {
    const picture = PICTURES.get(question.picture);
    shown.push(["picture", picture?.name ?? "a picture", picture?.address]);
  }
  $("examples").replaceChildren(
    ...shown.map(([name, words, address]) =>
      make(
        "span",
        { class: "example" },
        address ? make("img", { src: address, alt: "" }) : null,
        make("span", { title: words }, words),
        iconButton("close", `Take out: ${words}`, () => drop(name)),
      ),
    ),
  );
}
