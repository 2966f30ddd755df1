package langtest

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// randomVectors returns responses that are put together at random, always the same ones: error
// objects and problem details with unusual values, some of which are then damaged.
func randomVectors(count int) (list []vector) {
	g := generator{rand.New(rand.NewPCG(1, 2))}
	for i := range count {
		v := vector{
			Name:   fmt.Sprintf("random %d", i),
			Status: pick(g, 400, 401, 403, 404, 429, 499, 500, 501, 503, 599, 600),
			Header: g.header(),
			Body:   g.damaged([]byte(g.body())),
		}
		for _, line := range v.Header {
			v.date = v.date || strings.Contains(line[1], ":")
		}
		list = append(list, v)
	}
	return list
}

// generator makes the parts of a response. Its headers are those about which all languages can
// agree: package langtest says which they cannot.
type generator struct{ *rand.Rand }

func pick[T any](g generator, values ...T) T { return values[g.IntN(len(values))] }

func (g generator) header() [][2]string {
	lines := [][2]string{}
	add := func(name string, values ...string) {
		if g.IntN(3) == 0 {
			lines = append(lines, [2]string{name, pick(g, values...)})
		}
	}
	add("Content-Type", "application/json", "text/html", problemType, problemType+"; charset=utf-8", " Application/Problem+JSON ;a", problemType+", text/html", ";", "")
	add("Request-Id", "req_1", "", " ", "a b", "\tx\u00a0", "é", "a;b", `"quoted"`)
	add("X-Request-Id", "req_2", "", "\x7f")
	add("Retry-After", "0", "1", "2", " 03 ", "9999999999", "1e2", "-1", ",", "1,2", "1, -1", "\u0661", g.date(), g.date(), g.date())
	add("Retry-After-Ms", "0", "1", "999", "1000", "1001", "1500", "", "x", "99999999999999999999")
	add("X-Should-Retry", "false", "FALSE", "true", "no, false", "false;a", "")
	return lines
}

// date returns what may be an HTTP date.
func (g generator) date() string {
	day := pick(g, "00", "01", "1", " 1", "28", "29", "30", "31", "32")
	month := pick(g, "Jan", "Feb", "feb", "Apr", "DEC", "Foo")
	year := pick(g, "1999", "2060", "2061", "60", "68", "69", "99", "060", "9999")
	clock := pick(g, "00:00:00", "23:59:59", "24:00:00", "12:60:00", "12:00:60", "12:00")
	zone := pick(g, " GMT", " GMT", " GMT", " gmt", "")
	return pick(g,
		"Thu, "+day+" "+month+" "+year+" "+clock+zone,
		"Thursday, "+day+"-"+month+"-"+year+" "+clock+zone,
		"Thu "+month+" "+day+" "+clock+" "+year+zone,
	)
}

func (g generator) body() string {
	object := g.object(
		"code", "type", "message", "param", "request_id", "doc_url", "errors", "metadata",
		"detail", "title", "instance", "Code", "status", "__proto__", "constructor",
	)
	switch g.IntN(8) {
	case 0:
		return object
	case 1:
		return pick(g, "[", "{", "\ufeff", " \n", `{"error":`, "1", "\u00a0", "\v", "<!-- -->") + object + "}"
	case 2:
		return `{"error":` + g.value(2) + `,"detail":"d","code":"x"}`
	default:
		return `{"error":` + object + `}` + pick(g, "", "", "\n", "}", "{}", "<html>", `"`, "\x00")
	}
}

// object returns a JSON object with some of the names.
func (g generator) object(names ...string) string {
	var members []string
	for _, name := range names {
		for g.IntN(2) == 0 {
			members = append(members, g.text(name)+pick(g, ":", " : ")+g.member(name))
		}
	}
	g.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
	return "{" + strings.Join(members, pick(g, ",", ", ", " ,\n")) + "}"
}

// member returns a value that often suits the name.
func (g generator) member(name string) string {
	switch {
	case g.IntN(4) == 0:
		return g.value(2)
	case name == "code":
		return g.text(pick(g, "parameter_missing", "rate_limit_exceeded", "own", "", "toString"))
	case name == "type":
		return g.text(pick(g, "api_error", "rate_limit_error", "own_error", "about:blank", "https://x", ""))
	case name == "metadata":
		return g.object("a", "b", "__proto__", "1")
	case name == "errors":
		return "[" + g.object("code", "param", "message") + "," + g.value(1) + "]"
	default:
		return g.text(pick(g, "m", "", " ", "a b", "é\u2028", "🎉", "{", `"`, `\`, "\u200b", "a\x00b", "</script>", strings.Repeat("x", 300)))
	}
}

func (g generator) value(depth int) string {
	if depth > 0 && g.IntN(3) == 0 {
		return pick(g, "["+g.value(depth-1)+"]", "["+g.value(depth-1)+","+g.value(depth-1)+"]", g.object("code", "error", "a"))
	}
	return pick(g, "null", "true", "1", "-0", "1.5e300", "1E400", "0", "[]", "{}", `""`, `"x"`, `"\ud800"`, `"\ud83c\udf89"`, `"\u0000"`, `"\/"`, strings.Repeat("7", 400),
		"NaN", "01", "+1", ".5", "1.", "'x'", `"\x"`, "\"\n\"", "undefined", "", "-")
}

// text returns a JSON string. Some of its characters are escaped.
func (g generator) text(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r < ' ' || r == '"' || r == '\\' || r < 0x10000 && g.IntN(16) == 0:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// damaged returns a body in which some bytes were changed, added or removed, or that was cut.
func (g generator) damaged(body []byte) []byte {
	if g.IntN(2) == 0 {
		return body
	}
	for range 1 + g.IntN(3) {
		if len(body) == 0 {
			break
		}
		at := g.IntN(len(body))
		switch g.IntN(4) {
		case 0:
			body[at] = pick(g, []byte("\"\\{}[]:,0 a\x00\n\xff")...)
		case 1:
			body = append(body[:at], body[at+1:]...)
		case 2:
			body = append(body[:at:at], append([]byte(pick(g, `"`, `\`, "{", "}", ",", "\xff", "\u00a0", "é", `\u12`)), body[at:]...)...)
		default:
			body = body[:at]
		}
	}
	return body
}
