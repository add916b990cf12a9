// The labels under review as files of every format that the server can write.

import { addElement } from "./panel.js";
import { attempt, request, toast } from "./common.js";

const $ = (id) => document.getElementById(id);

/** Offer the formats; flushed: returns a promise that all changes are saved. */
export async function offerExports(flushed) {
  const formats = await (await request("/api/review/formats")).json(), holder = $("export-formats");
  holder.replaceChildren();
  for (const { name, title } of formats) {
    const button = addElement("button", "", holder);
    button.type = "button";
    button.textContent = title;
    button.dataset.export = name;
    button.addEventListener("click", () => attempt(async () => {
      await flushed();
      await download(name);
    }));
  }
}

async function download(format) {
  const answer = await request(`/api/review/export/${encodeURIComponent(format)}`);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await answer.blob());
  link.download = decodeURIComponent(answer.headers.get("x-name"));
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  const notes = decodeURIComponent(answer.headers.get("x-notes") ?? "");
  toast(notes ? `${link.download}: ${notes.replaceAll("\n", "; ")}` : `${link.download} is saved`);
}
