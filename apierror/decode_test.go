package apierror_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/seawall-go/seawall/apierror"
)

// order has a field for each way in which encoding/json reads a value.
type order struct {
	Name     string             `json:"name"`
	Count    int8               `json:"count"`
	Total    uint64             `json:"total"`
	Rate     float64            `json:"rate"`
	Paid     bool               `json:"paid"`
	Note     *string            `json:"note"`
	Quoted   int                `json:"quoted,string"`
	Data     []byte             `json:"data"`
	Pair     [2]int             `json:"pair"`
	Items    []item             `json:"items"`
	Tags     map[string]string  `json:"tags"`
	Seats    map[int]bool       `json:"seats"`
	Levels   map[level]int      `json:"levels"`
	Due      time.Time          `json:"due"`
	Level    level              `json:"level"`
	Amount   money              `json:"amount"`
	Prices   map[string][]money `json:"prices"`
	Next     *order             `json:"next"`
	Extra    any                `json:"extra"`
	Shape    fmt.Stringer       `json:"shape"`
	Payee    payee              `json:"payee"`
	Scopes   scopes             `json:"scopes"`
	Legacy   legacy             `json:"legacy"`
	Opaque   opaque             `json:"opaque"`
	Twin     named              `json:"twin"`
	TWIN     item               `json:"TWIN"`
	Hidden   string             `json:"-"`
	Untagged int
	address           // its fields are members of order
	Billing  *billing `json:"billing"` // shares a field's name with its parent
	named    `json:"named"`
}

type (
	item struct {
		Price int    `json:"price"`
		SKU   string `json:"sku"`
	}
	address struct {
		City string `json:"city"`
		Zip  int    `json:"zip"`
	}
	billing struct {
		Count int `json:"count"`
	}
	named struct {
		Inner int `json:"inner"`
	}
)

// level has an UnmarshalText method.
type level int

func (l *level) UnmarshalText(text []byte) error {
	switch string(text) {
	case "low":
		*l = 1
	case "high":
		*l = 2
	default:
		return fmt.Errorf("main.level: no %q", text)
	}
	return nil
}

// money decodes its part of the body itself, so the offsets in its errors are within that part.
type money struct{ units int }

func (m *money) UnmarshalJSON(b []byte) error {
	var in struct {
		Currency string `json:"currency"`
		Units    int    `json:"units"`
	}
	if err := json.Unmarshal(b, &in); err != nil {
		return err
	}
	if in.Units < 0 {
		return errors.New("main.money: negative secret-4711")
	}
	m.units = in.Units
	return nil
}

// payee returns errors for the client.
type payee struct{}

func (*payee) UnmarshalJSON(b []byte) error {
	switch string(b) {
	case `"nobody"`:
		return apierror.ParameterInvalid("", "").WithMessage("The payee is unknown.")
	case `"closed"`:
		return fmt.Errorf("payee: %w", apierror.CodePermissionDenied)
	case `"other"`:
		return apierror.ParameterMissing("payee.account")
	}
	return nil
}

// scopes parses JSON in a JSON string, so its errors are about another text than the body.
type scopes []int

func (s *scopes) UnmarshalJSON(b []byte) error {
	var text string
	if err := json.Unmarshal(b, &text); err != nil {
		return err
	}
	return json.Unmarshal([]byte(text), (*[]int)(s))
}

// legacy reads the members of an older version under their new names, so the offsets in its errors
// fit the body and the names do not.
type legacy struct{}

func (*legacy) UnmarshalJSON(b []byte) error {
	var in struct {
		Qty int `json:"qty"`
	}
	return json.Unmarshal(bytes.ReplaceAll(b, []byte("amt"), []byte("qty")), &in)
}

// opaque has an UnmarshalJSON method that does not use its fields.
type opaque struct {
	Kind string `json:"kind"`
}

func (*opaque) UnmarshalJSON([]byte) error { return nil }

const jsonType = "application/json"

func newRequest(contentType, body string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/orders", strings.NewReader(body))
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	return r
}

func decodeOrder(t *testing.T, body string, o *apierror.DecodeOptions) error {
	t.Helper()
	var v order
	return apierror.DecodeJSON(httptest.NewRecorder(), newRequest(jsonType, body), &v, o)
}

// If a row has a param, its message is "Invalid parameter: <param> <problem>.".
var decodeTable = []struct {
	name    string
	body    string
	param   string
	problem string
	message string
}{
	{name: "string for a whole number", body: `{"count":"7"}`, param: "count", problem: "must be a whole number"},
	{name: "fraction for a whole number", body: `{"count":1.5}`, param: "count", problem: "must be a whole number"},
	{name: "exponent for a whole number", body: `{"count":1e1}`, param: "count", problem: "must be a whole number"},
	{name: "too large", body: `{"count":300}`, param: "count", problem: "is out of range"},
	{name: "negative for unsigned", body: `{"total":-1}`, param: "total", problem: "is out of range"},
	{name: "float overflow", body: `{"rate":1e999}`, param: "rate", problem: "is out of range"},
	{name: "bool for a number", body: `{"rate":true}`, param: "rate", problem: "must be a number"},
	{name: "number for a bool", body: `{"paid":1}`, param: "paid", problem: "must be true or false"},
	{name: "number for a string", body: `{"name":1}`, param: "name", problem: "must be a string"},
	{name: "object for a string", body: `{"name":{"a":1}}`, param: "name", problem: "must be a string"},
	{name: "array for a string behind a pointer", body: `{"note":["x"]}`, param: "note", problem: "must be a string"},
	{name: "number for base64", body: `{"data":5}`, param: "data", problem: "must be a string in base64"},
	{name: "not base64", body: `{"data":"%%"}`, param: "data"},
	{name: "object for an array", body: `{"pair":{}}`, param: "pair", problem: "must be an array"},
	{name: "element of a fixed array", body: `{"pair":[1,"x"]}`, param: "pair[1]", problem: "must be a whole number"},
	{name: "string for a slice", body: `{"items":"x"}`, param: "items", problem: "must be an array"},
	{name: "object for a slice", body: `{"items":{"price":1}}`, param: "items", problem: "must be an array"},
	{name: "array for a struct", body: `{"billing":[1]}`, param: "billing", problem: "must be an object"},
	{name: "string for a struct in a slice", body: `{"items":[{"price":1},"x"]}`, param: "items[1]", problem: "must be an object"},
	{name: "indexed path", body: `{"items":[{"price":1},{"price":"x"}]}`, param: "items[1].price", problem: "must be a whole number"},
	{name: "indexed path, with blanks", body: " {\n \"items\" : [ { \"price\" : 1 } ,\n { \"price\" : \"x\" } ] } ", param: "items[1].price", problem: "must be a whole number"},
	{name: "the first of two is named", body: `{"items":[{"price":"x"},{"price":"y"}],"name":1}`, param: "items[0].price", problem: "must be a whole number"},
	{name: "the caller's spelling", body: `{"ITEMS":[{"Price":"x"}]}`, param: "ITEMS[0].Price", problem: "must be a whole number"},
	{name: "escaped key", body: `{"na\u006de":1}`, param: "name", problem: "must be a string"},
	{name: "braces and quotes in strings", body: `{"name":"}\\\"]{","tags":{"a\"]":"{"},"count":"x"}`, param: "count", problem: "must be a whole number"},
	{name: "value of a map", body: `{"tags":{"a":"b","x.y":2}}`, param: "tags.x.y", problem: "must be a string"},
	{name: "first key of a map", body: `{"seats":{"x":true}}`, param: "seats.x", problem: "is not a valid key"},
	{name: "later key of a map", body: `{"seats":{"1":true,"x":true}}`, param: "seats.x", problem: "is not a valid key"},
	{name: "key of a map that reads texts", body: `{"levels":{"low":1,"middle":2}}`, param: "levels.middle", problem: "is not a valid key"},
	{name: "value of a map that reads texts", body: `{"levels":{"low":1,"high":"x"}}`, param: "levels.high", problem: "must be a whole number"},
	{name: "recursion", body: `{"next":{"next":{"items":[{},{"sku":0}]}}}`, param: "next.next.items[1].sku", problem: "must be a string"},
	{name: "same name further down", body: `{"billing":{"count":300},"count":300}`, param: "count", problem: "is out of range"},
	{name: "embedded struct", body: `{"city":"x","zip":"y"}`, param: "zip", problem: "must be a whole number"},
	{name: "embedded struct with a name", body: `{"named":{"inner":"y"}}`, param: "named.inner", problem: "must be a whole number"},
	{name: "field without a tag", body: `{"untagged":"y"}`, param: "untagged", problem: "must be a whole number"},
	{name: "duplicate names", body: `{"count":1,"count":"x"}`, param: "count", problem: "is given more than once"},
	{name: "number beyond any", body: `{"extra":{"a":[0,1e999]}}`, param: "extra.a[1]", problem: "is out of range"},
	{name: "string option", body: `{"quoted":"x"}`, param: "quoted"},
	{name: "string option kept, other refused", body: `{"quoted":"5","level":"x"}`, param: "level"},
	{name: "time as a text", body: `{"due":"tomorrow"}`, param: "due"},
	{name: "time as a number", body: `{"due":5}`, param: "due"},
	{name: "text type as a number", body: `{"level":5}`, param: "level", problem: "must be a string"},
	{name: "text type refuses", body: `{"name":"x","level":"middle"}`, param: "level"},
	{name: "own UnmarshalJSON, own offset", body: `{"amount":{"currency":"EUR","units":"x"}}`, param: "amount.units", problem: "must be a whole number"},
	{name: "own UnmarshalJSON, own kind", body: `{"amount":"x"}`, param: "amount", problem: "must be an object"},
	{name: "own UnmarshalJSON, own text", body: `{"name":"n","amount":{"units":-1}}`, param: "amount"},
	{name: "own UnmarshalJSON in a map of lists", body: `{"prices":{"a":[{"units":1}],"b":[{"units":2},{"units":[]}]}}`, param: "prices.b[1].units", problem: "must be a whole number"},
	{name: "own UnmarshalJSON of another text, type", body: `{"scopes":"[1,2,true]"}`, param: "scopes"},
	{name: "own UnmarshalJSON of another text, syntax", body: `{"name":"a","scopes":"[1,2"}`, param: "scopes"},
	{name: "own UnmarshalJSON of another text, names", body: `{"legacy":{"amt":"x"}}`, param: "legacy"},
	{name: "own UnmarshalJSON of another text, fine", body: `{"scopes":"[1,2]","count":"x"}`, param: "count", problem: "must be a whole number"},

	{name: "unknown member", body: `{"label":"x"}`, param: "label", problem: "is not known"},
	{name: "unknown nested member", body: `{"items":[{"price":1},{"colour":1}]}`, param: "items[1].colour", problem: "is not known"},
	{name: "unknown member, known elsewhere", body: `{"items":[{"price":1,"name":1}],"name":"x"}`, param: "items[0].name", problem: "is not known"},
	{name: "unknown member that a map has too", body: `{"tags":{"foo":"x"},"foo":1}`, param: "foo", problem: "is not known"},
	{name: "the unexported embedded type is no member", body: `{"address":{}}`, param: "address", problem: "is not known"},
	{name: "a field below a name", body: `{"inner":1}`, param: "inner", problem: "is not known"},
	{name: "hidden field", body: `{"Hidden":"x"}`, param: "Hidden", problem: "is not known"},
	{name: "hidden field's tag", body: `{"-":"x"}`, param: "-", problem: "is not known"},
	{name: "nothing is unknown below a type that decodes itself", body: `{"opaque":{"label":1},"label":1}`, param: "label", problem: "is not known"},
	{name: "nothing is wrong below a type that decodes itself", body: `{"opaque":{"kind":1},"level":"x"}`, param: "level"},
	{name: "the exact name comes before another case", body: `{"TWIN":{"sku":1}}`, param: "TWIN.sku", problem: "must be a string"},
	{name: "empty name", body: `{"":1}`, param: `""`, problem: "is not known"},
	{name: "unknown member within an object that decodes itself", body: `{"strict":1}`, param: "strict", problem: "is not known"},

	{name: "array at the top", body: `[]`, message: "The request body must be an object."},
	{name: "string at the top", body: `"x"`, message: "The request body must be an object."},
	{name: "null at the top", body: ` null `, message: "The request body must be an object."},
	{name: "syntax", body: `{"name":x}`, message: "The request body is not valid JSON, at byte 9."},
	{name: "syntax after a wrong type", body: `{"count":"x",}`, message: "The request body is not valid JSON, at byte 14."},
	{name: "cut off", body: `{"name":"x"`, message: "The request body is not valid JSON: it ends too early, at byte 11."},
	{name: "not JSON", body: `name=x&count=1`, message: "The request body is not valid JSON, at byte 2."},
	{name: "byte order mark", body: "\ufeff{}", message: "The request body is not valid JSON, at byte 1."},
	{name: "too deep", body: strings.Repeat("[", 20_000), message: "The request body is not valid JSON, at byte 10001."},
	{name: "second value", body: `{} {}`, message: "The request body has something after its JSON value, at byte 4."},
	{name: "trailing comma", body: "{}\n,", message: "The request body has something after its JSON value, at byte 4."},
	{name: "trailing NUL", body: "{}\x00", message: "The request body has something after its JSON value, at byte 3."},
}

func TestDecodeJSONNamesTheParameterAtFault(t *testing.T) {
	t.Parallel()
	for _, row := range decodeTable {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			err := decodeOrder(t, row.body, nil)

			want := row.message
			switch {
			case row.problem != "":
				want = "Invalid parameter: " + row.param + " " + row.problem + "."
			case row.param != "":
				want = "Invalid parameter: " + row.param + "."
			}
			e := asError(t, err)
			equal(t, "code", e.Code(), apierror.CodeParameterInvalid)
			equal(t, "status", e.Status(), 400)
			equal(t, "param", e.Param(), row.param)
			equal(t, "message", e.Message(), want)
		})
	}
}

func TestDecodeJSONMessagesHoldNoGoTypesAndNoValues(t *testing.T) {
	t.Parallel()
	for _, row := range decodeTable {
		e := asError(t, decodeOrder(t, row.body, nil))
		for _, secret := range []string{"main.", "apierror_test", "secret-4711", "json:", "int8", "uint64", "float64", "struct", "Go "} {
			if strings.Contains(e.Message(), secret) {
				t.Errorf("%s: %q is in the message %q", row.name, secret, e.Message())
			}
		}
	}
}

func TestDecodeJSONReturnsErrorsOfUnmarshalers(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		body    string
		code    apierror.Code
		param   string
		message string
	}{
		{`{"payee":"nobody"}`, apierror.CodeParameterInvalid, "payee", "The payee is unknown."},
		{`{"next":{"payee":"nobody"}}`, apierror.CodeParameterInvalid, "next.payee", "The payee is unknown."},
		{`{"payee":"other"}`, apierror.CodeParameterMissing, "payee.account", "Missing required parameter: payee.account."},
		{`{"payee":"closed"}`, apierror.CodePermissionDenied, "payee", "The API key lacks permission for this resource."},
	} {
		e := asError(t, decodeOrder(t, row.body, nil))
		equal(t, "code", e.Code(), row.code)
		equal(t, "param", e.Param(), row.param)
		equal(t, "message", e.Message(), row.message)
	}
}

func TestDecodeJSONReadsValidBodies(t *testing.T) {
	t.Parallel()
	var v order
	body := ` {"name":"n","count":-7,"quoted":"5","items":[{"price":3}],"due":"2026-01-02T03:04:05Z","level":"high",
		"amount":{"units":4},"scopes":"[1]","extra":[null],"note":null,"city":"c","next":null} ` + "\r\n\t"
	if err := apierror.DecodeJSON(httptest.NewRecorder(), newRequest(jsonType, body), &v, nil); err != nil {
		t.Fatal(err)
	}
	if v.Name != "n" || v.Count != -7 || v.Quoted != 5 || v.Items[0].Price != 3 || v.Level != 2 || v.Amount.units != 4 || v.City != "c" {
		t.Errorf("%+v", v)
	}
}

func TestDecodeJSONReadsAnyTarget(t *testing.T) {
	t.Parallel()
	var (
		raw     json.RawMessage
		anyone  any
		table   map[string]int
		list    []int
		text    string
		pointer *order
		when    time.Time
	)
	for _, row := range []struct {
		v    any
		body string
		want string // the message; "" for none
	}{
		{&raw, `null`, ""},
		{&raw, `{"a":[]}`, ""},
		{&anyone, `null`, ""},
		{&anyone, `[1e999]`, "Invalid parameter: [0] is out of range."},
		{&pointer, `null`, ""},
		{&pointer, `{"count":"x"}`, "Invalid parameter: count must be a whole number."},
		{&pointer, `{"x":1}`, "Invalid parameter: x is not known."},
		{&when, `null`, ""},
		{&when, `1`, "The request body has a parameter of the wrong type or value."},
		{&table, `null`, "The request body must be an object."},
		{&table, `{"a":"x"}`, "Invalid parameter: a must be a whole number."},
		{&list, `null`, "The request body must be an array."},
		{&list, `[1,[2]]`, "Invalid parameter: [1] must be a whole number."},
		{&list, `{}`, "The request body must be an array."},
		{&text, `5`, "The request body must be a string."},
	} {
		err := apierror.DecodeJSON(httptest.NewRecorder(), newRequest(jsonType, row.body), row.v, nil)
		message := ""
		if err != nil {
			message = asError(t, err).Message()
		}
		equal(t, fmt.Sprintf("%T of %s", row.v, row.body), message, row.want)
	}
}

func TestDecodeJSONReturnsMistakesOfTheProgram(t *testing.T) {
	t.Parallel()
	for _, v := range []any{nil, order{}, (*order)(nil), 5} {
		err := apierror.DecodeJSON(httptest.NewRecorder(), newRequest(jsonType, `{}`), v, nil)
		if _, ok := errors.AsType[*json.InvalidUnmarshalError](err); !ok {
			t.Errorf("%T: %v", v, err)
		}
		equal(t, "code", apierror.From(err).Code(), apierror.CodeAPIError)
	}
}

func TestDecodeJSONAllowsUnknownMembers(t *testing.T) {
	t.Parallel()
	if err := decodeOrder(t, `{"label":"x","items":[{"colour":1}]}`, &apierror.DecodeOptions{AllowUnknown: true}); err != nil {
		t.Error(err)
	}
}

// These bodies took half a minute when each value's path was copied and each member's type was
// looked up.
func TestDecodeJSONIsNotSlowForHostileBodies(t *testing.T) {
	t.Parallel()
	deep := 4000
	wide := strings.Repeat("1,", 100_000) + "1"
	err := decodeOrder(t, `{"extra":`+strings.Repeat("[", deep)+wide+strings.Repeat("]", deep)+`,"count":"x"}`, nil)
	equal(t, "param", asError(t, err).Param(), "count")

	nested := strings.Repeat(`{"next":`, deep) + `{"tags":{` + strings.Repeat(`"a":"",`, 80_000) + `"a":""},"a":1}` + strings.Repeat("}", deep)
	err = decodeOrder(t, nested, nil)
	equal(t, "code", asError(t, err).Code(), apierror.CodeParameterInvalid)

	refused := strings.Repeat(`{"next":`, deep) + `{"pair":[` + wide + `],"level":"x"}` + strings.Repeat("}", deep)
	err = decodeOrder(t, refused, nil)
	equal(t, "code", asError(t, err).Code(), apierror.CodeParameterInvalid)
}

func FuzzDecodeJSON(f *testing.F) {
	for _, row := range decodeTable {
		if len(row.body) < 1000 {
			f.Add([]byte(row.body), row.name == "unknown member")
		}
	}
	for _, body := range []string{"{\"00\x8f0\":0e0}", "\xef\xbb0", `"\u000a`, `"\b\b"`, "{\n\"\":[ { \"\":   { \"\x00", "0\f", `[ `, "1eA", `{"":10`} {
		f.Add([]byte(body), false)
		f.Add([]byte(body), true)
	}
	f.Fuzz(func(t *testing.T, body []byte, allowUnknown bool) {
		var v order
		err := apierror.DecodeJSON(httptest.NewRecorder(), newRequest(jsonType, string(body)), &v, &apierror.DecodeOptions{AllowUnknown: allowUnknown})

		var want order
		plain := json.NewDecoder(bytes.NewReader(body))
		if !allowUnknown {
			plain.DisallowUnknownFields()
		}
		if plainErr := plain.Decode(&want); plainErr != nil && err == nil {
			t.Fatalf("encoding/json: %v", plainErr)
		}
		if _, ok := err.(*apierror.Error); !ok { // the field Shape takes no JSON: the program's mistake
			return
		}
		e := asError(t, err)
		if e.Status() >= 500 {
			t.Errorf("not the client's fault: %v", e)
		}
		if p := e.Param(); p != "" && len(p) < 250 && !strings.Contains(err.Error(), "payee") && !has(body, p) {
			t.Errorf("%q is not in %s", p, body)
		}
		said := e.Message() // without the client's own name
		if e.Param() != "" {
			said = strings.ReplaceAll(said, e.Param(), "")
		}
		if m := goType.FindString(said); m != "" {
			t.Errorf("%q in %q", m, said)
		}
		w := httptest.NewRecorder()
		apierror.Write(w, httptest.NewRequest(http.MethodPost, "/", nil), err)
		if !json.Valid(w.Body.Bytes()) {
			t.Errorf("%q", w.Body)
		}
	})
}

var goType = regexp.MustCompile(`apierror_test|\b(int8|uint64|float64|map\[|struct|interface|json\.|main\.)`)

// has reports whether the path leads to a value in the JSON text. A key may hold dots and
// brackets, so all ways to read the path are tried.
func has(text []byte, path string) bool {
	if path == "" {
		return true
	}
	var array []json.RawMessage
	switch first := bytes.TrimLeft(text, " \t\r\n"); {
	case len(first) > 0 && first[0] == '{':
		// Of duplicate names Unmarshal keeps the last, so look at each.
		d := json.NewDecoder(bytes.NewReader(text))
		_, _ = d.Token()
		for d.More() {
			key, err := d.Token()
			var value json.RawMessage
			if err != nil || d.Decode(&value) != nil {
				return false
			}
			name, _ := key.(string)
			if name == "" {
				name = `""`
			}
			rest, ok := strings.CutPrefix(path, name)
			if ok && (rest == "" || rest[0] == '[') && has(value, rest) || ok && rest != "" && rest[0] == '.' && has(value, rest[1:]) {
				return true
			}
		}
		return false
	case len(first) > 0 && first[0] == '[':
		if json.Unmarshal(text, &array) != nil {
			return false
		}
		number, rest, ok := strings.Cut(strings.TrimPrefix(path, "["), "]")
		i := 0
		for _, c := range number {
			if c < '0' || c > '9' || i > len(array) {
				return false
			}
			i = i*10 + int(c-'0')
		}
		return ok && i < len(array) && has(array[i], strings.TrimPrefix(rest, "."))
	}
	return false
}
