// Prints TypeScript files without their comments: strip.mjs TYPESCRIPT FILE...
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const { default: ts } = await import(pathToFileURL(process.argv[2]));
const printer = ts.createPrinter({ removeComments: true });
const printed = process.argv.slice(3).map((name) => {
  const file = ts.createSourceFile(name, readFileSync(name, "utf8"), ts.ScriptTarget.ES2022, true);
  const tags = file.statements.flatMap((statement) => ts.getJSDocTags(statement));
  if (file.parseDiagnostics.length > 0 || tags.length > 0) {
    throw new Error(`${name}: ${file.parseDiagnostics[0]?.messageText ?? tags[0].tagName.text}`);
  }
  return printer.printFile(file);
});
console.log(JSON.stringify(printed));
