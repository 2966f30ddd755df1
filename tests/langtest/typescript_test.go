package langtest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTypeScriptReadsBodiesInOtherForms(t *testing.T) {
	t.Parallel()
	folder, _ := write(t)
	compileTypeScript(t, folder)
	const program = `
import { parseError, throwIfError } from "./builtin/errors.js";
const object = { code: "rate_limit_exceeded", message: "m", metadata: { a: "b" }, big: 1n };
for (const body of [{ error: object, big: 2n }, { detail: "down" }, {}, [], 5, true, null, undefined, () => ""]) {
  console.log(String(parseError(429, {}, body)));
}

const reason = new DOMException("The request was aborted.", "AbortError");
const thrown = (text) => throwIfError({ status: 429, headers: {}, text }).catch((err) => err);
const cut = await thrown(() => Promise.reject(reason));
const whole = await thrown(() => Promise.resolve(""));
console.log(cut.cause === reason, JSON.stringify(cut) === JSON.stringify(whole), "cause" in whole);
console.log(String(cut));
`
	require.Equal(t, `RateLimitError: 429 rate_limit_exceeded: m
RateLimitError: 429 rate_limit_error: The server answered with status 429: {"detail":"down"}
RateLimitError: 429 rate_limit_error: The server answered with status 429: {}
RateLimitError: 429 rate_limit_error: The server answered with status 429: []
RateLimitError: 429 rate_limit_error: The server answered with status 429: 5
RateLimitError: 429 rate_limit_error: The server answered with status 429: true
RateLimitError: 429 rate_limit_error: The server answered with status 429.
RateLimitError: 429 rate_limit_error: The server answered with status 429.
RateLimitError: 429 rate_limit_error: The server answered with status 429.
true true false
RateLimitError: 429 rate_limit_error: The server answered with status 429.
`, string(run(t, folder, "node", "--input-type=module", "-e", program)))
}

func TestTypeScriptCompilesInEachEnvironment(t *testing.T) {
	t.Parallel()
	folder, _ := write(t)
	put(t, filepath.Join(folder, "package.json"), []byte(`{"type":"module"}`))
	for _, file := range []string{"uses.ts", "node.ts"} {
		content, err := os.ReadFile("testdata/" + file)
		require.NoError(t, err)
		put(t, filepath.Join(folder, "builtin", file), content)
	}
	for name, row := range map[string]struct {
		options map[string]any
		include []string
	}{
		"browser":         {map[string]any{"lib": []string{"es2022", "dom"}, "types": []string{}}, []string{"*/errors.ts", "builtin/uses.ts"}},
		"Node.js":         {map[string]any{"lib": []string{"es2022"}, "types": []string{"node"}}, []string{"*/errors.ts", "builtin/uses.ts", "builtin/node.ts"}},
		"neither of them": {map[string]any{"lib": []string{"es2022"}, "types": []string{}, "module": "es2022", "moduleResolution": "bundler"}, []string{"*/errors.ts"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			row.options["noEmit"] = true
			tsc(t, folder, row.options, row.include...)
		})
	}
}

// fetch and Node.js join the lines of a header, also if they are dates.
func TestTypeScriptReadsSeveralLinesOfRetryAfter(t *testing.T) {
	t.Parallel()
	folder, _ := write(t)
	compileTypeScript(t, folder)
	const program = `
import { parseError } from "./builtin/errors.js";
const dates = ["Fri, 31 Dec 1999 23:59:59 GMT", "Friday, 31-Dec-99 23:59:59 GMT", "Fri Dec 31 23:59:59 1999"];
const later = new Date(Date.now() + 3_600_000).toUTCString();
const rows = [
  [...dates], ["5", ...dates], [...dates, "5"], ["3", dates[0], "7", "5"],
  [dates[0], "soon"], ["5", later], [later, ...dates], [later, "7200"],
];
for (const lines of rows) {
  const headers = new Headers(lines.map((line) => ["Retry-After", line]));
  console.log(Math.ceil(parseError(429, headers, "").retryAfter / 5) * 5);
}
`
	require.Equal(t, "0\n5\n5\n10\n0\n3600\n3600\n7200\n", string(run(t, folder, "node", "--input-type=module", "-e", program)))
}
