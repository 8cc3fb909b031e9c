// What a browser and its user do at an authorization server: follow redirects with cookies, fill the forms in, and end
// where the client is to get its code.

/** Opens `url` and answers each form with `answers(form)` until the redirect to `redirectUri` comes: returns that URL. */
export async function authorize(url, redirectUri, answers) {
  const cookies = new Map();
  let request = { url: new URL(url), method: "GET" };
  for (let step = 0; step < 20; step += 1) {
    const response = await fetch(request.url, {
      method: request.method,
      body: request.body,
      redirect: "manual",
      headers: { cookie: [...cookies].map(([name, value]) => `${name}=${value}`).join("; ") },
    });
    for (const line of response.headers.getSetCookie()) {
      const [pair] = line.split(";");
      const [name, value] = [pair.slice(0, pair.indexOf("=")), pair.slice(pair.indexOf("=") + 1)];
      if (value === "") cookies.delete(name);
      else cookies.set(name, value);
    }
    const location = response.headers.get("location");
    if (location) {
      const next = new URL(location, request.url);
      if (next.href.startsWith(redirectUri)) return next;
      request = { url: next, method: "GET" };
      continue;
    }
    const page = await response.text();
    const form = firstForm(page, request.url);
    if (!form) throw new Error(`${request.method} ${request.url} answered ${response.status}: ${page.slice(0, 2000)}`);
    const fields = { ...form.fields, ...answers(form, page) };
    request = { url: form.action, method: "POST", body: new URLSearchParams(fields) };
  }
  throw new Error(`${url} leads nowhere`);
}

function firstForm(page, base) {
  const [, attributes, content] = /<form([^>]*)>([\s\S]*?)<\/form>/i.exec(page) ?? [];
  if (attributes === undefined) return undefined;
  const attribute = (text, name) => new RegExp(`\\b${name}=["']?([^"'>\\s]*)`, "i").exec(text)?.[1];
  const fields = {};
  for (const [, input] of content.matchAll(/<input([^>]*)>/gi)) {
    const name = attribute(input, "name");
    if (name && !["checkbox", "submit"].includes(attribute(input, "type"))) fields[name] = attribute(input, "value") ?? "";
  }
  return { action: new URL((attribute(attributes, "action") || base.href).replaceAll("&amp;", "&"), base), fields };
}
