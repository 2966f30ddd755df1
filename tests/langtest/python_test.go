package langtest

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPythonCompilesWithoutWarnings(t *testing.T) {
	t.Parallel()
	folder, names := write(t)
	const program = `
import ast, builtins, keyword, pathlib, sys, typing
for name in sys.argv[1:]:
    path = pathlib.Path(name) / "errors.py"
    source = path.read_text(encoding="utf-8")
    ast.parse(source, feature_version=(3, 9))
    namespace = {"__name__": "errors"}
    exec(compile(source, str(path), "exec", dont_inherit=True), namespace)
    public = {n for n, v in namespace.items() if not n.startswith("_") and getattr(v, "__module__", None) == "errors"}
    assert public | {"Code"} == set(namespace["__all__"]), public
    assert not public & set(dir(builtins)), public
    for exported in (namespace["ResponseError"], namespace["parse_error"], namespace["raise_if_error"], namespace["Field"]):
        assert exported.__doc__
print("done")
`
	require.Equal(t, "done\n", string(run(t, folder, "python3", append([]string{"-W", "error", "-X", "dev", "-c", program}, names...)...)))
	run(t, folder, "python3", "-W", "error", "-X", "dev", "-m", "compileall", "-q", ".")
}

func TestNestingBeyondPythonsBoundIsNoErrorObject(t *testing.T) {
	t.Parallel()
	folder, _ := write(t)
	deep := `{"error":{"code":"own","message":"m","metadata":` + strings.Repeat("[", 9_000) + strings.Repeat("]", 9_000) + `}}`
	body, err := json.Marshal(deep)
	require.NoError(t, err)
	put(t, filepath.Join(folder, "builtin", "body.json"), body)
	const program = `
import json
import errors
err = errors.parse_error(429, {"Request-Id": "req_1"}, json.load(open("body.json")))
print(type(err).__name__, err.code, err.request_id, len(err.message) < 300)
`
	output := string(run(t, filepath.Join(folder, "builtin"), "python3", "-c", program))
	require.Contains(t, []string{"RateLimitError None req_1 True\n", "RateLimitError own req_1 True\n"}, output)
}

func TestPythonAgreesWithParseOnSeveralLinesOfRetryAfter(t *testing.T) {
	t.Parallel()
	folder, _ := write(t)
	var headers [][][2]string
	var want []float64
	for _, header := range [][][2]string{
		{{"Retry-After", "soon"}, {"Retry-After", "5"}},
		{{"Retry-After", "5"}, {"Retry-After", "Fri, 31 Dec 1999 23:59:59 GMT"}, {"Retry-After", "7"}},
		{{"Retry-After", "Fri, 31 Dec 1999 23:59:59 GMT"}, {"Retry-After", "Friday, 31-Dec-99 23:59:59 GMT"}, {"Retry-After-Ms", "5"}},
		{{"Retry-After", "1"}, {"Retry-After-Ms", "500"}, {"Retry-After-Ms", "soon"}},
		{{"Retry-After", "1"}, {"Retry-After-Ms", "500"}, {"Retry-After-Ms", "700"}},
	} {
		headers = append(headers, header)
		want = append(want, wanted(t, vector{Status: 429, Header: header}).RetryAfter)
	}
	content, err := json.Marshal(headers)
	require.NoError(t, err)
	put(t, filepath.Join(folder, "builtin", "headers.json"), content)
	const program = `
import http.client, json
import errors
waits = []
for header in json.load(open("headers.json")):
    message, lists = http.client.HTTPMessage(), {}
    for name, value in header:
        message[name] = value
        lists.setdefault(name, []).append(value)
    wait = errors.parse_error(429, message, b"").retry_after
    assert wait == errors.parse_error(429, lists, b"").retry_after
    waits.append(wait)
print(json.dumps(waits))
`
	var got []float64
	require.NoError(t, json.Unmarshal(run(t, filepath.Join(folder, "builtin"), "python3", "-c", program), &got))
	require.InDeltaSlice(t, want, got, 1e-6)
}
