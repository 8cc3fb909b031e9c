// Checks Kubernetes resources offline: node validate.mjs FILE...
//
// Values are checked by the schemas of the custom resource definitions, names of members by the types made from them:
// the schemas let unknown members pass, as an API server does that drops them. One line for each mistake, and status 1.

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import * as envoyGateway from "@kubernetes-models/envoy-gateway/gateway.envoyproxy.io/v1alpha1";
import * as istioExtensions from "@kubernetes-models/istio/extensions.istio.io/v1alpha1";
import * as istioNetworking from "@kubernetes-models/istio/networking.istio.io/v1";
import * as istioFilters from "@kubernetes-models/istio/networking.istio.io/v1alpha3";
import typescript from "typescript";
import { parseAllDocuments } from "yaml";

const MODELS = {
  "extensions.istio.io/v1alpha1": ["@kubernetes-models/istio/extensions.istio.io/v1alpha1", istioExtensions],
  "gateway.envoyproxy.io/v1alpha1": ["@kubernetes-models/envoy-gateway/gateway.envoyproxy.io/v1alpha1", envoyGateway],
  "networking.istio.io/v1": ["@kubernetes-models/istio/networking.istio.io/v1", istioNetworking],
  "networking.istio.io/v1alpha3": ["@kubernetes-models/istio/networking.istio.io/v1alpha3", istioFilters],
};

// No package has the schema of TrafficExtension yet (Istio 1.30). Its `wasm` has the members that WasmPlugin has beside these.
const OF_THE_EXTENSION = ["selector", "targetRefs", "phase", "priority", "match"];
function asWasmPlugin(place, { spec: { wasm, ...spec } = {}, ...rest }) {
  const unknown = Object.keys(spec).filter((member) => !OF_THE_EXTENSION.includes(member));
  const own = Object.keys(wasm ?? {}).filter((member) => OF_THE_EXTENSION.includes(member));
  for (const member of [...unknown, ...own]) mistakes.push(`${place}: \`${member}\` stands in the wrong place`);
  if (!wasm) mistakes.push(`${place}: no \`wasm\``);
  return { ...rest, kind: "WasmPlugin", spec: { ...spec, ...wasm } };
}

const mistakes = [];
const resources = process.argv.slice(2).flatMap((file) =>
  parseAllDocuments(readFileSync(file, "utf8"), { strict: true, uniqueKeys: true }).map((document, index) => {
    const place = `${file}, document ${index + 1}`;
    mistakes.push(...document.errors.map((error) => `${place}: ${error.message}`));
    return { place, value: document.toJS() };
  }),
);

const typed = [];
for (let { place, value } of resources) {
  if (value?.apiVersion === "v1" && value.kind === "ConfigMap") {
    const texts = Object.values(value.data ?? {});
    if (!value.metadata?.name || texts.length === 0 || texts.some((text) => typeof text !== "string")) {
      mistakes.push(`${place}: a ConfigMap has a name, and texts in \`data\``);
    }
    continue;
  }
  if (value?.kind === "TrafficExtension") value = asWasmPlugin(place, value);
  const [module, models] = MODELS[value?.apiVersion] ?? [];
  const Model = models?.[value.kind];
  if (!Model || !value.metadata?.name) {
    mistakes.push(`${place}: no known kind of resource, or no name`);
    continue;
  }
  try {
    new Model(value).validate();
  } catch (error) {
    mistakes.push(`${place}: ${error.message}`);
  }
  const type = `import(${JSON.stringify(module)}).I${value.kind}`;
  typed.push({ place, source: `export const resource: ${type} = ${JSON.stringify(value, null, 1)};\n` });
}

// Each resource is a module of its own, which exists in the compiler only.
const options = {
  ...{ noEmit: true, strict: true, skipLibCheck: true, types: [] },
  module: typescript.ModuleKind.NodeNext,
  moduleResolution: typescript.ModuleResolutionKind.NodeNext,
};
const sources = new Map(
  typed.map(({ place, source }, index) => [fileURLToPath(new URL(`resource-${index}.ts`, import.meta.url)), { place, source }]),
);
const host = typescript.createCompilerHost(options);
const { readFile, fileExists, getSourceFile } = host;
host.readFile = (path) => sources.get(path)?.source ?? readFile(path);
host.fileExists = (path) => sources.has(path) || fileExists(path);
host.getSourceFile = (path, target, ...rest) => {
  const own = sources.get(path);
  return own ? typescript.createSourceFile(path, own.source, target) : getSourceFile(path, target, ...rest);
};
const program = typescript.createProgram([...sources.keys()], options, host);
for (const { file, messageText } of typescript.getPreEmitDiagnostics(program)) {
  const place = sources.get(file?.fileName)?.place ?? "the types";
  mistakes.push(`${place}: ${typescript.flattenDiagnosticMessageText(messageText, " ")}`);
}

for (const mistake of mistakes) console.log(mistake);
process.exitCode = mistakes.length > 0 ? 1 : 0;
