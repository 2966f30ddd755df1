package langtest

import (
	"net/http"
	"strings"
	"time"
)

// vector is a response.
type vector struct {
	Name   string      `json:"name"`
	Status int         `json:"status"`
	Header [][2]string `json:"header"`
	Body   []byte      `json:"body"`

	date bool // it has a date, so the wait depends on when it is read
}

const (
	jsonType    = "application/json"
	problemType = "application/problem+json"
)

// vectors are read by apierror.Parse and by the generated parsers.
func vectors() (list []vector) {
	add := func(name string, status int, contentType, body string, header ...string) {
		v := vector{Name: name, Status: status, Header: [][2]string{}, Body: []byte(body)}
		if contentType != "" {
			v.Header = append(v.Header, [2]string{"Content-Type", contentType})
		}
		for i := 0; i < len(header); i += 2 {
			v.Header = append(v.Header, [2]string{header[i], header[i+1]})
			v.date = v.date || strings.Contains(header[i+1], ":")
		}
		list = append(list, v)
	}
	const own = `{"error":{"code":"own","message":"m"}}`
	x := strings.Repeat

	// Successes
	for _, status := range []int{200, 204, 301, 304, 399} {
		add("success", status, jsonType, own)
	}

	// Error objects
	add("the specification's", 400, jsonType, `{"error":{"type":"invalid_request_error","code":"parameter_missing","message":"Missing required parameter: name.","param":"name","request_id":"req_Hd92kLpQ7m"}}`)
	for code, typ := range map[string]string{
		"parameter_invalid": "invalid_request_error", "authentication_failed": "authentication_error", "permission_denied": "permission_error",
		"idempotency_conflict": "idempotency_error", "rate_limit_exceeded": "rate_limit_error", "api_error": "api_error",
	} {
		add("each type: "+typ, 400, jsonType, `{"error":{"type":"`+typ+`","code":"`+code+`","message":"m"}}`)
		add("each type, from its code: "+typ, 418, jsonType, `{"error":{"code":"`+code+`","message":"m"}}`)
	}
	add("any Content-Type", 400, "text/html", `{"error":{"code":"parameter_missing","message":"m"}}`)
	add("the body wins over the status", 500, jsonType, `{"error":{"type":"rate_limit_error","code":"parameter_missing","message":"m"}}`)
	add("the type of the status, if need be", 429, jsonType, own)
	add("unknown ones, verbatim", 418, jsonType, `{"error":{"type":"Tea Error","code":"SHORT & stout","message":"m","colour":1}}`)
	add("an unknown type of a known code", 400, jsonType, `{"error":{"type":"new_error","code":"parameter_missing","message":"m"}}`)
	for _, name := range []string{"constructor", "__proto__", "prototype", "toString", "hasOwnProperty", "__class__", "ResponseError"} {
		add("a name of the language as code: "+name, 404, jsonType, `{"error":{"code":"`+name+`","message":"m","metadata":{"`+name+`":"v","a":"b"}}}`)
		add("a name of the language as type: "+name, 404, jsonType, `{"error":{"type":"`+name+`","code":"own","message":"m"}}`)
	}
	add("members of a prototype", 404, jsonType, `{"__proto__":{"error":{"code":"own"}}}`)
	add("members of a prototype, within it", 404, jsonType, `{"error":{"__proto__":{"code":"own"},"message":"m"}}`)
	add("only a type", 400, jsonType, `{"error":{"type":"api_error"}}`)
	add("no message", 400, jsonType, `{"error":{"code":"own"}}`)
	add("empty members", 400, jsonType, `{"error":{"type":"","code":"own","message":"","param":"","request_id":"","doc_url":"","errors":[],"metadata":{}}}`)
	add("wrong JSON types", 404, jsonType, `{"error":{"type":["x"],"code":"own","message":{"a":1},"param":7,"errors":{},"metadata":[],"request_id":null,"doc_url":true}}`)
	add("wrong JSON types of the others", 404, jsonType, `{"error":{"type":true,"code":"own","message":1e999,"param":[],"errors":"text","metadata":"text","request_id":{},"doc_url":-0}}`)
	add("nothing useful", 404, jsonType, `{"error":{"type":1,"code":2,"message":"text","param":"p","doc_url":"u","request_id":"req_1","errors":[{"code":"c"}],"metadata":{"a":"b"}}}`)
	add("other case is another member", 404, jsonType, `{"Error":{"Code":"own"}}`)
	add("duplicates", 404, jsonType, `{"error":1,"error":{"code":"a","code":"own","message":"m"}}`)
	add("escaped names", 404, jsonType, `{"err\u006fr":{"c\u006fde":"own","message":"m"}}`)
	add("all members", 400, jsonType, `{"error":{"code":"own","message":"m","param":"items[1].price","doc_url":"https://x/#own",
		"errors":[{"code":"a","param":"p","message":"m"}, null, 5, "x", [], {"code":1,"param":"q"}, {}],
		"metadata":{"a":"1","b":2,"c":null,"d":{},"e":"","é":"ü"}}}`)
	add("white space", 400, jsonType, " \t\r\n{\n\"error\" : {\t\"code\" :\r\"own\" , \"message\" : \"m\" } } \n")
	add("large numbers", 400, jsonType, `{"n":`+x("9", 5000)+`,"f":1e9999,"error":{"code":"own","message":"m"}}`)
	add("text of other languages", 400, jsonType, `{"error":{"code":"own","message":"Ça 🎉 \ud83c\udf89 \u2028","param":"名前"}}`)
	add("lone surrogates", 400, jsonType, `{"error":{"code":"own","message":"a\ud800b\udc00","param":"\udfff","metadata":{"\ud800":"\ud800"}}}`)
	add("hostile texts", 400, jsonType, `{"error":{"code":"</script>","message":"a\r\n\u0000\u001b[31m\u202e%s ${x} {{x}} \"quoted\" \\","param":"a\nb"}}`)

	// Bodies that are no error objects
	add("invalid UTF-8", 404, jsonType, "{\"error\":{\"code\":\"own\",\"message\":\"a\xff\"}}")
	add("byte order mark", 404, jsonType, "\ufeff"+own)
	add("byte order mark and white space", 404, jsonType, "\ufeff \n"+own)
	add("something after it", 404, jsonType, own+`<!-- proxy -->`)
	add("an object after it", 404, jsonType, own+`{"error":{"code":"other"}}`)
	add("braces and quotes in strings, and something after it", 404, jsonType, `{"error":{"code":"own","message":"}\"{\\"}}}`)
	add("null", 500, jsonType, `null`)
	add("array", 500, jsonType, `[]`)
	add("array of objects", 500, jsonType, `[`+own+`]`)
	add("string", 500, jsonType, `"text"`)
	add("number", 500, jsonType, `1`)
	add("error null", 401, jsonType, `{"error":null}`)
	add("error text", 403, jsonType, `{"error":"no"}`)
	add("error array", 403, jsonType, `{"error":[{"code":"own"}]}`)
	add("error empty", 400, jsonType, `{"error":{}}`)
	add("NaN is not JSON", 400, jsonType, `{"n":NaN,"error":{"code":"own"}}`)
	add("Infinity is not JSON", 400, jsonType, `{"n":-Infinity,"error":{"code":"own"}}`)
	add("a line end in a string is not JSON", 400, jsonType, "{\"error\":{\"code\":\"own\",\"message\":\"a\nb\"}}")
	add("a comma too many is not JSON", 400, jsonType, `{"error":{"code":"own",}}`)
	add("single quotes are not JSON", 400, jsonType, `{'error':{'code':'own'}}`)
	add("nothing", 502, "", ``)
	add("white space only", 502, "", " \n\t")
	for _, status := range []int{400, 401, 403, 404, 409, 429, 499, 500, 501, 503, 599, 600, 999} {
		add("nothing, with any status", status, "", "")
	}
	add("a proxy's page", 404, "text/html", "<html>\r\n\t<h1>404\x00\x1b[1m  Not\u2028Found\u00a0\u202e\u200b</h1>\n</html>\x1c\x85")
	add("cut off", 400, jsonType, `{"error":{"type":"invalid_request_error","code":"parameter_mis`)
	add("cut off after a backslash", 400, jsonType, `{"error":{"type":"invalid_request_error","code":"a\`)
	add("quotes without end", 400, jsonType, `{"error":"`+x(`\"`, 20_000))
	add("deep", 400, jsonType, x(`{"error":`, 60_000/9))
	add("deep arrays", 400, jsonType, x(`[`, 60_000))
	add("198 characters", 502, "", x("x", 198))
	add("199 characters", 502, "", x("x", 199))
	add("a space at the end", 502, "", x("x", 196)+" yz")
	add("a space at the end, and more", 502, "", x("x", 197)+" yz")
	add("a space at the very end", 502, "", x("x", 198)+" y")
	add("characters of several bytes", 502, "", x("ä🎉 ", 500))
	add("more than 64 KiB", 502, jsonType, `{"error":{"code":"own","message":"`+x("m", 64<<10)+`"}}`)
	add("64 KiB of white space", 502, jsonType, x(" ", 64<<10)+own)

	// Problem details
	add("problem details", 403, problemType+"; charset=utf-8", `{"type":"https://x/credit","title":"No credit.","status":418,"detail":"You have 30.","instance":"/a/1","code":"account_frozen"}`)
	add("problem details, all members", 400, "Application/Problem+JSON", `{"type":"https://x","title":"t","detail":"d","instance":"/i","code":"parameter_missing","param":"p","request_id":"req_1","doc_url":"https://y","errors":[{"param":"q"}],"metadata":{"a":"b"}}`)
	add("problem details without a detail", 403, problemType, `{"type":"about:blank","title":"No credit."}`)
	add("problem details of a known code", 500, problemType, `{"code":"rate_limit_exceeded","detail":"d"}`)
	add("problem details only by name", 400, problemType, own)
	add("problem details with only a code", 400, problemType, `{"code":"own"}`)
	add("problem details with only a link", 400, problemType, `{"type":"https://x","instance":"/i","param":"p"}`)
	add("empty problem details", 400, problemType, `{}`)
	add("problem details that are no object", 400, problemType, `[]`)
	add("problem details of another type", 400, jsonType, `{"title":"No credit."}`)
	add("problem details with an error text", 400, problemType, `{"error":"no","detail":"d","code":"own"}`)
	add("problem details with an empty error object", 400, problemType, `{"error":{},"detail":"d","code":"own"}`)

	// Request ids
	const withID = `{"error":{"code":"own","message":"m","request_id":"req_b"}}`
	add("the header wins", 404, jsonType, withID, "Request-Id", "req_h", "X-Request-Id", "req_x")
	add("then the body", 404, jsonType, withID, "X-Request-Id", "req_x")
	add("then the other header", 404, jsonType, own, "X-Request-Id", "req_x")
	add("a blank header", 404, jsonType, withID, "Request-Id", "  ")
	add("blanks around it", 404, jsonType, own, "Request-Id", " req_h\t")
	add("the same header twice", 404, jsonType, withID, "Request-Id", "req_h", "Request-Id", "req_h")
	add("two headers that differ", 404, jsonType, withID, "Request-Id", "req_1", "Request-Id", "req_2")
	add("control characters", 404, jsonType, own, "Request-Id", "a\r\nb\x00\x1bc")
	add("invisible characters", 404, jsonType, own, "Request-Id", "a\u202eb")
	add("control characters in the body", 404, jsonType, `{"error":{"code":"own","message":"m","request_id":"a\u2028\n\u0085b\ufeff"}}`)
	add("a long one", 404, jsonType, own, "Request-Id", x("x", 1000))
	add("a long one in the body", 404, jsonType, `{"error":{"code":"own","message":"m","request_id":"`+x("x", 1000)+`"}}`)
	add("128 characters", 404, jsonType, own, "Request-Id", x("x", 128))
	add("of an object without a code", 404, jsonType, `{"error":{"message":"m","request_id":"req_b"}}`)

	// Retries
	for _, header := range [][]string{
		{"120"}, {"0"}, {"0005"}, {" 5\t"}, {"5", " 5"}, {"300", "120"}, {"120, 300,5"}, {"5, soon"}, {"5,"}, {","}, {""}, {"soon"},
		{"-1"}, {"+1"}, {"1.5"}, {"1e3"}, {"0x10"}, {"1_000"}, {"5s"}, {"9223372036"}, {"9223372037"}, {x("9", 400)}, {x("1,", 300_000) + "7"}, {x("1", 5000)},
		{"Mon, 23 Nov 2026 12:00:10 CET"}, {"2099-11-23T12:00:10Z"}, {"23 Nov 2099"}, {"Fri, 32 Dec 2099 23:59:59 GMT"}, {"Fri, 31 Foo 2099 23:59:59 GMT"}, {"Sat, 31 Feb 2099 23:59:59 GMT"}, {"Sat, 28 Feb 2099 24:00:00 GMT"}, {"Sat, 28 Feb 2099 23:59:60 GMT"}, {"sat, 28 feb 2099 23:59:59 GMT"}, {"Sat, 28 Feb 2099 23:59:59 gmt"},
		{"Fri, 31 Dec 1999 23:59:59 GMT"}, {"Friday, 31-Dec-99 23:59:59 GMT"}, {"Fri Dec 31 23:59:59 1999"}, {"Fri, 31 Dec 9999 23:59:59 GMT"},
		{"Friday, 31-Dec-60 23:59:59 GMT"}, {"Friday, 31-Dec-68 23:59:59 GMT"}, {"friday, 31-DEC-69 23:59:59 GMT"}, {"Friday, 31-Dec-2060 23:59:59 GMT"}, {"Fri, 31 Dec 60 23:59:59 GMT"},
		{"Fri Dec  3 23:59:59 2060"}, {"Fri Dec 3 23:59:59 2060"}, {"Fri, 03 Dec 2060 23:60:00 GMT"}, {"Fri, 03 Dec 2060 25:00:00 GMT"}, {"Fri, 00 Dec 2060 23:00:00 GMT"}, {"Thu, 29 Feb 2060 23:00:00 GMT"}, {"Tue, 29 Feb 2061 23:00:00 GMT"},
		{"Mon, 01 Jan 0001 00:00:00 GMT"}, {"Mon, 01 Jan 0000 00:00:00 GMT"},
	} {
		lines := []string{}
		for _, value := range header {
			lines = append(lines, "Retry-After", value)
		}
		add("Retry-After: "+header[0][:min(len(header[0]), 40)], 503, "", "", lines...)
	}
	for _, layout := range []string{http.TimeFormat, "Monday, 02-Jan-06 15:04:05 GMT", time.ANSIC} {
		add("Retry-After: a date as "+layout, 429, "", "", "Retry-After", time.Now().UTC().AddDate(0, 0, 1).Format(layout))
	}
	for _, pair := range [][2]string{
		{"1", "10"}, {"1", "1000"}, {"3", "2001"}, {"3", "2000"}, {"1", "1001"}, {"1", "0"}, {"1", "10.5"}, {"1", "-1"}, {"soon", "30"}, {"soon", x("9", 40)}, {"0", "1"}, {"soon", "soon"},
	} {
		add("Retry-After-Ms: "+pair[0]+" "+pair[1], 429, "", "", "Retry-After", pair[0], "Retry-After-Ms", pair[1])
	}
	add("Retry-After-Ms alone", 429, "", "", "Retry-After-Ms", "30")
	for _, header := range [][]string{{"false"}, {" FALSE "}, {"true"}, {"true", "false"}, {"true, false"}, {"falsehood"}, {"fal\u017fe"}, {"FAL\u017fE"}, {""}} {
		lines := []string{}
		for _, value := range header {
			lines = append(lines, "X-Should-Retry", value)
		}
		add("X-Should-Retry: "+strings.Join(header, "; "), 503, jsonType, own, lines...)
	}
	add("X-Should-Retry: true does not make it retryable", 404, jsonType, own, "X-Should-Retry", "true")
	return list
}
