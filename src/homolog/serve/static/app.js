// The page begins: light and dark, and which of the two modes is shown.

import { ask, attempt, taken } from "./common.js";
import { Match } from "./match.js";
import { Review } from "./review.js";

const $ = (id) => document.getElementById(id);

function themes() {
  const root = document.documentElement;
  const kept = localStorage.getItem("theme");
  if (kept) root.dataset.theme = kept;
  $("theme").addEventListener("click", () => {
    const system = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
    const next = (root.dataset.theme ?? system) === "dark" ? "light" : "dark";
    root.dataset.theme = next;
    localStorage.setItem("theme", next);
  });
}

function choose(mode) {
  for (const name of ["match", "review"]) $(name).hidden = name !== mode;
  for (const button of $("modes").children) {
    button.setAttribute("aria-pressed", button.dataset.mode === mode);
  }
  document.body.dataset.mode = mode;
}

async function begin() {
  themes();
  $("help").addEventListener("click", () => $("keys").showModal());
  document.addEventListener("keydown", (event) => {
    if (event.key === "?" && !taken(event)) $("keys").showModal();
  });
  const start = await (await ask("/api/start")).json();
  const match = new Match(start);
  const review = start.review ? new Review() : null;
  $("modes").hidden = !review;
  $("keys-review").hidden = !review;
  for (const button of $("modes").children) {
    button.addEventListener("click", () => choose(button.dataset.mode));
  }
  choose(review ? "review" : "match");
  document.addEventListener("keydown", (event) => {
    if (!taken(event)) (document.body.dataset.mode === "review" ? review : match).key(event);
  });
  await review?.load();
}

attempt(begin);
