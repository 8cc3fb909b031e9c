// Logs a user in at an authorization server and prints the code that the client gets: node code.mjs --url URI --redirect URI

import { parseArgs } from "node:util";
import { authorize } from "./browser.mjs";

const { values: options } = parseArgs({ options: { url: { type: "string" }, redirect: { type: "string" } } });
const callback = await authorize(options.url, options.redirect, ({ fields }, page) => {
  if (fields.prompt === "login") return { login: "alice", password: "any" };
  if ("user" in fields) return { user: "dwho", password: "dwho" };
  if (/name="?password/.test(page)) return { username: "alice", password: "alice-password" };
  return { allow: "Authorize", confirm: "yes" };
});
const code = callback.searchParams.get("code");
if (!code) throw new Error(`no code: ${callback}`);
process.stdout.write(code);
