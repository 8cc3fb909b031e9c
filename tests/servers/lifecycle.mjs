// What every server here has in common: one ready line on standard output, and an end that comes with its parent's.

/** Starts an `http.Server` on loopback and resolves to the port that it got. */
export function listen(server, port) {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", () => resolve(server.address().port));
  });
}

/** Says in one line of JSON that the server takes requests. Nothing else may go to standard output. */
export function announce(facts) {
  process.stdout.write(`${JSON.stringify({ ready: true, ...facts })}\n`);
}

/** Ends this process with its parent (standard input closes) or on a signal. */
export function endWithParent() {
  const end = () => process.exit(0);
  process.stdin.on("end", end).on("close", end).on("error", end).resume();
  process.on("SIGTERM", end).on("SIGINT", end);
}
