// The editors: CodeMirror with YAML or JSON, in the page's colours.
import { autocompletion, closeBrackets, closeBracketsKeymap, completionKeymap } from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap } from "@codemirror/commands";
import { json, jsonParseLinter } from "@codemirror/lang-json";
import { yaml } from "@codemirror/lang-yaml";
import { bracketMatching, indentOnInput, indentUnit, syntaxHighlighting } from "@codemirror/language";
import { linter, lintKeymap, setDiagnostics } from "@codemirror/lint";
import { searchKeymap } from "@codemirror/search";
import { EditorState } from "@codemirror/state";
import {
  EditorView, drawSelection, highlightActiveLine, highlightActiveLineGutter, hoverTooltip, keymap, lineNumbers,
} from "@codemirror/view";
import { highlighter } from "../highlight.mjs";
import { completions, keyHelp } from "./completion.js";

// Tab leaves the editor, as it leaves any other field; Ctrl-] and Ctrl-[ indent.
const basics = (label) => [
  EditorView.cspNonce.of("editor"),
  history(), drawSelection(), indentOnInput(), bracketMatching(), closeBrackets(), indentUnit.of("  "),
  EditorState.tabSize.of(2),
  syntaxHighlighting(highlighter),
  highlightActiveLine(),
  keymap.of([...closeBracketsKeymap, ...defaultKeymap, ...searchKeymap, ...historyKeymap, ...completionKeymap, ...lintKeymap]),
  EditorView.contentAttributes.of({ "aria-label": label, tabindex: "0" }),
];

const onChange = (changed) => EditorView.updateListener.of((update) => {
  if (update.docChanged) changed(update.state.doc.toString());
});

export function yamlEditor({ parent, label, changed, withSchema = false, id }) {
  const schema = withSchema
    ? [autocompletion({ override: [completions], icons: false }), hoverTooltip((view, at) => keyHelp(view.state, at))]
    : [];
  const extensions = [basics(label), lineNumbers(), highlightActiveLineGutter(), yaml(), linter(null), schema, onChange(changed)];
  return editor(parent, extensions, id);
}

export function jsonEditor({ parent, label, changed, id }) {
  return editor(parent, [basics(label), json(), linter(jsonParseLinter(), { delay: 100 }), EditorView.lineWrapping, onChange(changed)], id);
}

function editor(parent, extensions, id) {
  const view = new EditorView({ parent, state: EditorState.create({ doc: "", extensions }) });
  if (id) view.contentDOM.id = id;
  return {
    view,
    get text() { return view.state.doc.toString(); },
    set text(text) {
      if (text !== view.state.doc.toString()) view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: text } });
    },
    /** Marks what the core found, where it is. */
    mark(findings) {
      const diagnostics = findings.filter((finding) => finding.line).map((finding) => diagnostic(view.state, finding));
      view.dispatch(setDiagnostics(view.state, diagnostics));
    },
    goTo(finding) {
      const { from } = diagnostic(view.state, finding);
      view.dispatch({ selection: { anchor: from }, effects: EditorView.scrollIntoView(from, { y: "center" }) });
      view.focus();
    },
  };
}

function diagnostic(state, finding) {
  const line = state.doc.line(Math.min(finding.line, state.doc.lines));
  // Columns count characters, not units of UTF-16.
  const before = [...line.text].slice(0, finding.column - 1).join("").length;
  const from = Math.min(line.from + before, line.to);
  const rest = line.text.slice(from - line.from);
  const word = /^("[^"]*"|'[^']*'|[^\s,\]}:]+)/.exec(rest)?.[0] ?? rest;
  const to = Math.max(from, Math.min(from + word.length, line.to));
  const where = finding.path ? `${finding.path}: ` : "";
  const meant = finding.suggestion;
  const wrong = /`([^`]+)`/.exec(finding.message)?.[1];
  const at = wrong ? line.text.indexOf(wrong, from - line.from) : -1;
  const actions = meant && at >= 0
    ? [{
        name: `Write ${meant}`,
        apply: (view) => view.dispatch({ changes: { from: line.from + at, to: line.from + at + wrong.length, insert: meant } }),
      }]
    : [];
  const suffix = meant ? `; did you mean \`${meant}\`?` : "";
  return { from, to, severity: finding.severity, message: `${where}${finding.message}${suffix}`, source: finding.code, actions };
}
