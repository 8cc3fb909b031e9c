// Starts the servers of a gateway: authorization server, upstream and Envoy with a variant of `envoy.yaml`.

import { spawn } from "node:child_process";
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parse } from "yaml";

const here = (name) => fileURLToPath(new URL(name, import.meta.url));
const PATIENCE_MS = 30_000;

/** The issuer that `envoy.yaml` trusts; the authorization server of the demo speaks in its name. */
export const ISSUER = "https://login.example.com";

/** The running servers; `stop` ends each, and each ends by itself when this process does. */
export class Servers {
  #children = [];

  /** `logs`: a directory for what the servers say, made anew. */
  constructor(logs) {
    this.logs = logs;
    rmSync(logs, { recursive: true, force: true });
    mkdirSync(logs, { recursive: true });
  }

  /** Starts one of the Node servers in this directory and resolves to its ready line. */
  async node(name, ...parameters) {
    const child = this.#spawn(name, process.execPath, [here(`${name}.mjs`), ...parameters], "pipe");
    const line = await Promise.race([
      new Promise((resolve) => createInterface({ input: child.stdout }).once("line", resolve)),
      this.#failure(name, child),
    ]);
    return JSON.parse(line);
  }

  /** Starts Envoy with a bootstrap and resolves to `{port, admin}` when it is live. */
  async envoy(binary, bootstrap) {
    const path = `${this.logs}/envoy.json`;
    const adminPath = `${this.logs}/admin-address`;
    writeFileSync(path, JSON.stringify(bootstrap, null, 2));
    const options = ["-c", path, "--admin-address-path", adminPath, "--concurrency", "2"];
    options.push("--disable-hot-restart", "--log-level", "warn", "--component-log-level", "wasm:info");
    options.push("--log-path", `${this.logs}/envoy.log`, "--file-flush-interval-msec", "100");
    const child = this.#spawn("envoy", here("bound-to-parent.sh"), [binary, ...options], "file");
    const failure = this.#failure("envoy", child);
    const admin = await Promise.race([this.#adminOf(adminPath), failure]);
    const { listener_statuses } = await (await fetch(`${admin}/listeners?format=json`)).json();
    const port = listener_statuses[0].local_address.socket_address.port_value;
    return { port, admin };
  }

  async #adminOf(path) {
    for (const deadline = Date.now() + PATIENCE_MS; Date.now() < deadline; await sleep(50)) {
      const address = existsSync(path) ? readFileSync(path, "utf8").trim() : "";
      const ready = address && (await fetch(`http://${address}/ready`).catch(() => null));
      if (ready?.ok) return `http://${address}`;
    }
    throw new Error(`envoy was not ready within ${PATIENCE_MS / 1000} s; its log: ${this.logs}/envoy.log`);
  }

  /** What a log of this run says: `envoy`, `access`, or the name of a Node server. */
  log(name) {
    const path = `${this.logs}/${name}.log`;
    return existsSync(path) ? readFileSync(path, "utf8") : "";
  }

  stop() {
    for (const child of this.#children.splice(0)) child.kill("SIGTERM");
  }

  #spawn(name, command, parameters, stdout) {
    const log = (suffix) => openSync(`${this.logs}/${suffix}.log`, "a");
    const output = stdout === "file" ? log("access") : "pipe";
    const errors = log(name);
    const child = spawn(command, parameters, { stdio: ["pipe", output, errors] });
    closeSync(errors);
    if (output !== "pipe") closeSync(output);
    child.stdin.on("error", () => {});
    this.#children.push(child);
    return child;
  }

  /** Rejects when the child ends, which none does on its own. */
  #failure(name, child) {
    const failure = new Promise((_, reject) => {
      child.once("error", (error) => reject(new Error(`${name} cannot be started: ${error.message}`)));
      child.once("exit", (code, signal) => {
        const said = this.log(name).trim().split("\n").slice(-20).join("\n");
        reject(new Error(`${name} ended with ${signal ?? code}; it said:\n${said}`));
      });
    });
    failure.catch(() => {});
    return failure;
  }
}

/**
 * The bootstrap of `envoy.yaml` for servers at other ports.
 *
 * `ports`: {listener, admin, upstream, idp}, 0 for any; `wasm`: path of the wasm file.
 */
export function bootstrap({ ports, wasm }) {
  const envoy = parse(readFileSync(here("../../envoy.yaml"), "utf8"));
  const portOf = (holder, port) => (holder.address.socket_address.port_value = port);
  const [listener] = envoy.static_resources.listeners;
  portOf(envoy.admin, ports.admin);
  portOf(listener, ports.listener);
  for (const cluster of envoy.static_resources.clusters) {
    for (const { endpoint } of cluster.load_assignment.endpoints[0].lb_endpoints) portOf(endpoint, ports[cluster.name]);
  }
  const { http_filters } = listener.filter_chains[0].filters[0].typed_config;
  const filter = http_filters.find(({ name }) => name === "scopegate");
  filter.typed_config.config.vm_config.code.local.filename = wasm;
  return envoy;
}
