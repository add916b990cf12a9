// The page starts here: light or dark, and which of the two modes is shown.

import { request, attempt, isShortcut, isTaken } from "./common.js";
import { Match } from "./match.js";
import { Review } from "./review.js";

const $ = (id) => document.getElementById(id);

function setTheme() {
  const root = document.documentElement;
  const stored = localStorage.getItem("theme");
  if (stored) root.dataset.theme = stored;
  $("theme").addEventListener("click", () => {
    const system = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
    const next = (root.dataset.theme ?? system) === "dark" ? "light" : "dark";
    root.dataset.theme = next;
    localStorage.setItem("theme", next);
  });
}

function showMode(mode) {
  for (const name of ["match", "review"]) $(name).hidden = name !== mode;
  for (const button of $("modes").children) {
    button.setAttribute("aria-pressed", button.dataset.mode === mode);
  }
  document.body.dataset.mode = mode;
}

async function start() {
  setTheme();
  $("help").addEventListener("click", () => $("keys").showModal());
  document.addEventListener("keydown", (event) => {
    if (event.key === "?" && !isTaken(event)) $("keys").showModal();
  });
  const options = await (await request("/api/start")).json();
  const match = new Match(options);
  const review = options.review ? new Review() : null;
  $("modes").hidden = !review;
  for (const button of $("modes").children) {
    button.addEventListener("click", () => showMode(button.dataset.mode));
  }
  showMode(review ? "review" : "match");
  document.addEventListener("keydown", (event) => {
    const shown = document.body.dataset.mode === "review" ? review : match;
    if (!isTaken(event)) shown.key(event);
    else if (isShortcut(event)) shown.shortcut?.(event);
  });
  await review?.load();
}

attempt(start);
