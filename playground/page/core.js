// Asks the core. Each question gets an instance of its own: nothing is left of the one before.
import { ConsoleStdout, File, OpenFile, WASI } from "@bjorn3/browser_wasi_shim";

/** What the compiled core answers. */
export async function answer(compiled, question) {
  const output = [];
  const errors = [];
  const keep = (list) => new ConsoleStdout((bytes) => list.push(bytes.slice()));
  const input = new OpenFile(new File(new TextEncoder().encode(JSON.stringify(question))));
  const wasi = new WASI([], [], [input, keep(output), keep(errors)], { debug: false });
  const instance = await WebAssembly.instantiate(compiled, { wasi_snapshot_preview1: wasi.wasiImport });
  const code = wasi.start(instance);
  const text = await new Blob(output).text();
  if (code !== 0) throw new Error(text || (await new Blob(errors).text()) || `the core ended with ${code}`);
  return JSON.parse(text);
}
