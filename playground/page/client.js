// Asks the core: one question at a time, in the order in which they come. The throw-away keys go along.
import source from "worker-source";

const worker = new Worker(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
const waiting = new Map();
let keys = null;
let count = 0;

worker.addEventListener("message", ({ data: { id, answered, took, failed } }) => {
  const { resolve, reject } = waiting.get(id);
  waiting.delete(id);
  if (failed) reject(new Error(failed));
  else {
    keys = answered.keys;
    resolve({ ...answered, took });
  }
});

// `core.js` stands behind this script, so that the page is there before the core is.
addEventListener("DOMContentLoaded", () => worker.postMessage({ core: globalThis.scopegateCore }));

let last = Promise.resolve();

export function ask(question) {
  const answered = last.then(() => new Promise((resolve, reject) => {
    count += 1;
    waiting.set(count, { resolve, reject });
    worker.postMessage({ id: count, question: { ...question, keys } });
  }));
  last = answered.catch(() => {});
  return answered;
}
