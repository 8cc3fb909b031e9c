// oidc-provider 9 is written for Node 22; this is all of Node 22 that it uses here and Node 20 lacks.
URL.parse ??= (url, base) => {
  try {
    return new URL(url, base);
  } catch {
    return null;
  }
};
