// Runs the core beside the page, so that the page never waits for it.
import { answer } from "./core.js";

let compiled;

async function unpack(base64) {
  const packed = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return WebAssembly.compile(await new Response(stream).arrayBuffer());
}

addEventListener("message", async ({ data: { id, core, question } }) => {
  if (core) {
    compiled = unpack(core);
    return;
  }
  try {
    const begun = performance.now();
    const answered = await answer(await compiled, question);
    postMessage({ id, answered, took: performance.now() - begun });
  } catch (error) {
    postMessage({ id, failed: String(error?.message ?? error) });
  }
});
