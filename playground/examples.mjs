// The examples of the playground: configurations and case files of this repository, as they stand.
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";

const TITLES = {
  "teamcenter": "Teamcenter", "appian-erp": "Appian and an ERP", "infor-suites": "Infor-style suites",
  "thingworx-billing": "ThingWorx billing", "otk-branches": "OTK branches",
};

/** The configuration that README begins with. */
export function firstConfiguration(root) {
  const [, behind] = readFileSync(join(root, "README.md"), "utf8").split("<!-- tested: readme-first -->\n```yaml\n");
  return behind.split("```")[0];
}

export function examples(root) {
  const read = (path) => readFileSync(join(root, path), "utf8");
  const pair = (id, title, group, directory, file = id) => ({
    id, title, group, config: read(`${directory}/${file}.yaml`), cases: read(`${directory}/${file}_test.yaml`),
  });
  const issuers = readdirSync(join(root, "docs/issuers")).filter((name) => name.endsWith("_test.yaml"))
    .map((name) => name.replace("_test.yaml", "")).sort();
  const title = (name) => read(`docs/issuers/${name}.md`).split("\n")[0].replace(/^# /, "");
  return [
    { id: "first", title: "A first configuration", group: "Begin here", config: firstConfiguration(root), cases: read("playground/examples/first_test.yaml") },
    ...Object.entries(TITLES).map(([id, title]) => pair(id, title, "Systems", "filter-config")),
    ...issuers.map((name) => pair(name, title(name), "Identity providers", "docs/issuers")),
    pair("reasons", "Every reason for a refusal", "Refusals", "playground/examples"),
  ];
}
