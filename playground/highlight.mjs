// Which class of base.css each kind of token has, in editors and in the documentation.
import { tagHighlighter, tags } from "@lezer/highlight";

export const highlighter = tagHighlighter([
  { tag: [tags.propertyName, tags.definition(tags.propertyName)], class: "tok-key" },
  { tag: [tags.string, tags.attributeValue, tags.special(tags.string)], class: "tok-string" },
  { tag: tags.number, class: "tok-number" },
  { tag: [tags.bool, tags.null, tags.keyword, tags.labelName, tags.typeName], class: "tok-atom" },
  { tag: [tags.comment, tags.lineComment], class: "tok-comment" },
  { tag: [tags.punctuation, tags.separator, tags.brace, tags.squareBracket], class: "tok-punctuation" },
]);
