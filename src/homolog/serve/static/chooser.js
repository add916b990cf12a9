// How images get onto the page: files chosen or dropped, and those of the server's folder.

import { addElement } from "./panel.js";
import { request } from "./common.js";

const STORED = "application/x-homolog"; // what a dragged image of the folder is known by

/**
 * Let a panel take images.
 *
 * @param {HTMLElement} section the panel
 * @param {number} index of the panel, 0 or 1
 * @param {boolean} folder whether there are images to choose from
 * @param {object} on callbacks: files(list) for files, stored(id) for an image of the folder
 */
export function acceptFiles(section, index, folder, on) {
  const stage = section.querySelector(".stage"), input = section.querySelector("input");
  const empty = document.createElement("button");
  empty.type = "button";
  empty.className = "empty";
  empty.innerHTML = "<b></b><span></span>";
  empty.firstChild.textContent = index ? "Second image" : "First image";
  empty.lastChild.textContent = folder
    ? "Pick one below, drop one here, or choose a file" : "Drop it here, or choose a file";
  stage.prepend(empty);
  for (const button of [empty, section.querySelector(".choose")]) {
    button.addEventListener("click", () => input.click());
  }
  input.addEventListener("change", () => {
    on.files([...input.files]);
    input.value = "";
  });
  section.addEventListener("dragover", (event) => {
    event.preventDefault();
    section.classList.add("over");
  });
  section.addEventListener("dragleave", () => section.classList.remove("over"));
  section.addEventListener("drop", (event) => {
    event.preventDefault();
    section.classList.remove("over");
    const id = event.dataTransfer.getData(STORED);
    if (id) on.stored(id);
    else on.files([...event.dataTransfer.files]);
  });
}

/** Send a file to the server; what the server says of the image. */
export async function upload(file, maxBytes) {
  if (file.size > maxBytes) throw new Error(`${file.name} has more than ${maxBytes / 1e6} MB`);
  const path = `/api/pictures?name=${encodeURIComponent(file.name)}`;
  const headers = { "content-type": "application/octet-stream" };
  return (await request(path, { method: "POST", body: file, headers })).json();
}

/** Show the images of the server's folder, to be picked or dragged. */
export function showFolder(folder, pick) {
  document.getElementById("folder").hidden = folder.length === 0;
  document.getElementById("start").hidden = folder.length > 0;
  for (const { id, name } of folder) {
    const button = addElement("button", "", document.getElementById("strip"));
    const image = addElement("img", "", button);
    button.type = "button";
    button.title = name;
    button.draggable = true;
    image.loading = "lazy";
    image.alt = name;
    image.src = `/api/pictures/${id}/thumbnail`;
    button.addEventListener("click", () => pick(id));
    button.addEventListener("dragstart", (event) => event.dataTransfer.setData(STORED, id));
  }
}
