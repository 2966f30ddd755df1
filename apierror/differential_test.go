package apierror_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net/http/httptest"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/seawall-go/seawall/apierror"
)

type (
	// scalars has a field of each kind of literal.
	scalars struct {
		B   bool            `json:"b"`
		I8  int8            `json:"i8"`
		U16 uint16          `json:"u16"`
		F32 float32         `json:"f32"`
		F64 *float64        `json:"f64"`
		S   string          `json:"s"`
		P   **string        `json:"p"`
		N   json.Number     `json:"n"`
		R   json.RawMessage `json:"r"`
		A   any             `json:"a"`
		D   []byte          `json:"d"`
		T   time.Time       `json:"t"`
		TP  *time.Time      `json:"tp"`
		L   level           `json:"l"`
		LP  *level          `json:"lp"`
	}
	quoted struct {
		I  int         `json:"i,string"`
		U  *uint8      `json:"u,string"`
		F  float32     `json:"f,string"`
		B  bool        `json:"b,string"`
		S  string      `json:"s,string"`
		N  json.Number `json:"n,string"`
		L  level       `json:"l,string"`
		E  even        `json:"e,string"`
		EP *even       `json:"ep,string"`
		X  []int       `json:"x,string"` //nolint:staticcheck // the option has no effect on lists
	}
	collections struct {
		S  []int               `json:"s"`
		P  []*int8             `json:"p"`
		A  [2]string           `json:"a"`
		AB [3]byte             `json:"ab"`
		M  map[string]int      `json:"m"`
		MI map[int8][]bool     `json:"mi"`
		MU map[uint]any        `json:"mu"`
		ML map[level]*scalars  `json:"ml"`
		MS []map[string][]even `json:"ms"`
		SS [][][]int           `json:"ss"`
		MT map[both]int        `json:"mt"`
		An struct {
			X int `json:"x"`
		} `json:"an"`
	}
	Deeper struct {
		Deep  int `json:"deep"`
		Clash int `json:"clash"`
		Third int `json:"third"`
	}
	Left struct {
		Deeper
		Clash int `json:"clash"`
		Both  int
		Won   int
		L     int `json:"l"`
	}
	Right struct {
		Both int
		Won  string `json:"Won"`
		Ri   int    `json:"r"`
	}
	Pointed struct {
		Q     int    `json:"q"`
		Third string `json:"third"`
	}
	embeds struct {
		Left
		Right
		*Pointed
		Tagged Right `json:"tagged"`
		item   `json:"as"`
		L      string `json:"l"`
		Skip   int    `json:"-"`
		Dash   int    `json:"-,"`   //nolint:staticcheck // the name is -
		Bad    int    `json:"a\\b"` //nolint:staticcheck // encoding/json does not accept the name
		Opt    int    `json:",omitempty"`
	}
	folds struct {
		Kk   int    `json:"kk"`
		KK   string `json:"KK"`
		S    int    `json:"s"`
		Long int    `json:"ſ"`
		Ü    int    `json:"Ü"`
	}
	tree struct {
		V    int              `json:"v"`
		Kids []tree           `json:"kids"`
		Up   *tree            `json:"up"`
		By   map[string]*tree `json:"by"`
	}
)

// both has two methods. encoding/json reads the keys of maps with UnmarshalJSON too.
type both string

func (b *both) UnmarshalText(text []byte) error { *b = both(text); return nil }

func (b *both) UnmarshalJSON(text []byte) error {
	if string(text) == `"zz"` {
		return errors.New("main.both: zz")
	}
	*b = both(text)
	return nil
}

// even has an UnmarshalJSON method for numbers.
type even int

func (e *even) UnmarshalJSON(b []byte) error {
	n, err := strconv.Atoi(strings.Trim(string(b), `"`))
	if err != nil || n%2 != 0 {
		return errors.New("main.even: odd")
	}
	*e = even(n)
	return nil
}

func wideType() reflect.Type {
	var fields []reflect.StructField
	for i := range 150 {
		fields = append(fields, reflect.StructField{
			Name: "F" + strconv.Itoa(i), Type: reflect.TypeFor[int](), Tag: reflect.StructTag(`json:"f` + strconv.Itoa(i) + `"`),
		})
	}
	return reflect.StructOf(fields)
}

var targets = []struct {
	t     reflect.Type
	valid []string
}{
	{reflect.TypeFor[scalars](), []string{
		`{"b":true,"i8":-128,"u16":65535,"f32":1.5e3,"f64":-0.0,"s":"\u00e4\n","p":"x","n":12.50,"r":{"z":[1]},"a":{"a":[1,"x",null,{"b":{}}]},"d":"aGk=","t":"2026-01-02T03:04:05Z","tp":"2026-01-02T03:04:05Z","l":"low","lp":"high"}`,
		`{"b":null,"i8":null,"s":null,"p":null,"n":null,"r":null,"a":null,"d":null,"t":null,"tp":null,"l":null,"lp":null}`,
		`{"n":"12.5","d":[104,105],"a":[[],[{}]]}`,
	}},
	{reflect.TypeFor[quoted](), []string{
		`{"i":"5","u":"255","f":"1.5","b":"true","s":"\"x\"","n":"7","l":"\"low\"","e":"4","ep":"8","x":[1]}`,
		`{"i":"5","u":"255","f":"1.5","b":"true","s":"\"x\"","n":"7","e":"4","ep":"8","x":[1]}`,
		`{"i":null,"u":null,"s":null,"ep":null,"b":"null"}`,
	}},
	{reflect.TypeFor[collections](), []string{
		`{"s":[1,2],"p":[1,null],"a":["x","y","z"],"ab":[1,2,3],"m":{"a":1,"A":2},"mi":{"-5":[true]},"mu":{"7":{"x":1}},"ml":{"low":{"b":true},"high":null},"ms":[{"k":[2,4]},{}],"ss":[[[1],[]],[[2]]],"mt":{"a":1},"an":{"x":1}}`,
	}},
	{reflect.TypeFor[embeds](), []string{
		`{"deep":1,"clash":2,"Won":"w","l":"x","r":1,"q":2,"tagged":{"Both":1,"Won":"x"},"as":{"price":1},"-":1,"Bad":1,"Opt":1}`,
	}},
	{reflect.TypeFor[folds](), []string{`{"kk":1,"KK":"x","s":2,"ſ":3,"Ü":4}`, `{"Kk":1,"S":2,"ü":3}`}},
	{reflect.TypeFor[tree](), []string{
		`{"v":1,"kids":[{"v":2,"kids":[{},{"up":{"v":3}}]},{"by":{"x":{"v":1},"y":null}}],"up":{"up":{"up":{}}}}`,
	}},
	{reflect.TypeFor[order](), []string{
		`{"name":"n","items":[{"price":1},{"sku":"s"}],"amount":{"currency":"EUR","units":1},"prices":{"a":[{"units":1}]},"scopes":"[1]","seats":{"1":true},"next":{"named":{"inner":1}}}`,
	}},
	{reflect.TypeFor[*tree](), []string{`{"v":1}`, `null`}},
	{reflect.TypeFor[[]tree](), []string{`[{"v":1},{}]`}},
	{reflect.TypeFor[map[int]string](), []string{`{"1":"a","-2":"b"}`}},
	{reflect.TypeFor[any](), []string{`{"a":[1,{"b":null}]}`, `null`, `5`, `"x"`}},
	{reflect.TypeFor[int](), []string{`5`, ` 0 `}},
	{reflect.TypeFor[bool](), []string{`true`}},
	{reflect.TypeFor[string](), []string{`"x"`}},
	{reflect.TypeFor[json.RawMessage](), []string{`{"a":1}`, `true`, `-0`}},
	{reflect.TypeFor[even](), []string{`4`}},
	{reflect.TypeFor[time.Time](), []string{`"2026-01-02T03:04:05Z"`}},
	{wideType(), []string{`{"f0":1,"f63":1,"f64":1,"f149":1}`}},
}

// agrees compares the results of DecodeJSON and encoding/json for a body, and returns the error of
// DecodeJSON.
func agrees(t testing.TB, typ reflect.Type, body string, allowUnknown bool) error {
	t.Helper()
	got, want := reflect.New(typ), reflect.New(typ)
	err := apierror.DecodeJSON(httptest.NewRecorder(), newRequest(jsonType, body), got.Interface(),
		&apierror.DecodeOptions{AllowUnknown: allowUnknown})
	d := json.NewDecoder(strings.NewReader(body))
	if !allowUnknown {
		d.DisallowUnknownFields()
	}
	wantErr := d.Decode(want.Interface())
	if wantErr == nil {
		if _, err := d.Token(); err != io.EOF {
			wantErr = errors.New("trailing data")
		}
	}
	top := strings.TrimSpace(body)
	switch {
	case wantErr != nil && err == nil:
		t.Fatalf("%v: accepted %q, which encoding/json refuses: %v", typ, body, wantErr)
	case wantErr == nil && err == nil:
		if same, _ := parseValue(t, body).duplicate(); same {
			t.Fatalf("%v: accepted duplicates in %q", typ, body)
		}
		if !reflect.DeepEqual(got.Interface(), want.Interface()) {
			t.Fatalf("%v: %q was read into %+v, not %+v", typ, body, got.Elem(), want.Elem())
		}
	case wantErr == nil && top != "null":
		if _, alike := parseValue(t, body).duplicate(); !alike {
			t.Fatalf("%v: refused %q, which encoding/json accepts: %v", typ, body, err)
		}
	}
	if err != nil {
		if e, ok := err.(*apierror.Error); ok && goType.MatchString(strings.ReplaceAll(e.Message(), e.Param(), "")) {
			t.Fatalf("%v: %q: a Go name: %s", typ, body, e.Message())
		}
	}
	return err
}

// Each value of a valid document is replaced by each replacement, so the test knows where the fault
// is.
func TestDecodeJSONNamesThePlaceOfTheFault(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2)) // reproducible
	for _, target := range targets {
		for _, valid := range target.valid {
			for _, replacement := range replacements {
				eachPlace(t, valid, func(doc *value, path string, v *value) {
					*v = *parseValue(t, replacement)
					v.literal = replacement
					var b strings.Builder
					doc.write(&b, r)
					if err := agrees(t, target.t, b.String(), false); err != nil {
						checkPlace(t, target.t, path, replacement, asError(t, err))
					}
				})
			}
		}
	}
}

// checkPlace checks that the error names the value at the path, or what the replacement has in it.
func checkPlace(t testing.TB, typ reflect.Type, path, replacement string, e *apierror.Error) {
	t.Helper()
	inside := path
	switch replacement {
	case `{"zz":1}`:
		inside = strings.TrimPrefix(path+".zz", ".")
	case `[null]`:
		inside += "[0]"
	}
	// money in an order refuses itself as a whole.
	whole := typ == reflect.TypeFor[order]() && e.Param() != "" && strings.HasPrefix(path, e.Param())
	if e.Param() != path && e.Param() != inside && !whole {
		t.Errorf("%v: %s at %q: named %q: %v", typ, replacement, path, e.Param(), e)
	}
}

func TestDecodeJSONKnowsEmbeddedMembersAsEncodingJSONDoes(t *testing.T) {
	t.Parallel()
	for name, known := range map[string]bool{
		"deep": true, "clash": true, "won": true, "r": true, "q": true, "-": true, "Bad": true, "Opt": true, "tagged": true, "as": true,
		"Both": false, "Third": true, "Pointed": false, "Left": false, "item": false, "price": false, "Skip": false, `a\\b`: false,
	} {
		err := agrees(t, reflect.TypeFor[embeds](), `{"`+name+`":null}`, false)
		equal(t, name, err == nil, known)
		if err != nil {
			equal(t, name, asError(t, err).Message(), "Invalid parameter: "+strings.ReplaceAll(name, `\\`, `\`)+" is not known.")
		}
	}
}

func TestDecodeJSONNamesUnknownMembersAndDuplicates(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 4)) // reproducible
	for _, target := range targets {
		for _, valid := range target.valid {
			for _, name := range []string{"zz", "", "Ünknown", "first", "last"} {
				eachPlace(t, valid, func(doc *value, path string, v *value) {
					if v.open != '{' {
						return
					}
					twice := v.add(name)
					want := v.pathOf(path, len(v.keys)-1)
					var b strings.Builder
					doc.write(&b, r)
					err := agrees(t, target.t, b.String(), false)
					if err == nil && !twice {
						return
					}
					e := asError(t, err)
					if e.Param() != want || strings.Contains(e.Message(), "more than once") != twice {
						t.Errorf("%v: %q in %s: %v", target.t, want, b.String(), e)
					}
				})
			}
		}
	}
}

// pathOfOffset decodes the body to find the path of the value that ends at an offset, or of the
// object or array that begins before it.
func pathOfOffset(body string, offset int64) (path string, ok bool) {
	d := json.NewDecoder(strings.NewReader(body))
	d.UseNumber()
	var walk func(path string) bool
	walk = func(at string) bool {
		token, err := d.Token()
		if err != nil {
			return false
		}
		if d.InputOffset() == offset {
			path = at
			return true
		}
		open, isOpen := token.(json.Delim)
		if !isOpen {
			return false
		}
		v := &value{open: byte(open)}
		for i := 0; d.More(); i++ {
			if open == '{' {
				key, err := d.Token()
				if err != nil {
					return false
				}
				v.keys = append(v.keys, key.(string))
				raw, _ := json.Marshal(key)
				if d.InputOffset()-int64(len(raw))+1 == offset { // a key that a map does not accept
					path = v.pathOf(at, i)
					return true
				}
			}
			if walk(v.pathOf(at, i)) {
				return true
			}
		}
		_, _ = d.Token() // the end
		return false
	}
	return path, walk("")
}

func TestDecodeJSONAgreesWithEncodingJSONOnMutatedDocuments(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(5, 6)) // reproducible
	for range 5000 {
		target := targets[r.IntN(len(targets))]
		doc := parseValue(t, target.valid[r.IntN(len(target.valid))])
		for range 1 + r.IntN(4) {
			mutate(t, doc, r)
		}
		var b strings.Builder
		doc.write(&b, r)
		body := b.String()
		switch r.IntN(8) {
		case 0:
			body = body[:r.IntN(len(body)+1)]
		case 1:
			body += [...]string{" {}", "1", "x", ",", "\x00", " \n"}[r.IntN(6)]
		case 2:
			i := r.IntN(len(body) + 1)
			body = body[:i] + [...]string{"}", "]", `"`, "\\", ":", ",", "0", "\xff", "e"}[r.IntN(9)] + body[i:]
		}
		compareFault(t, target.t, body, r.IntN(2) == 0)
	}
}

// compareFault is agrees, and compares the place of a wrong type with encoding/json's offset.
func compareFault(t testing.TB, typ reflect.Type, body string, allowUnknown bool) {
	t.Helper()
	err := agrees(t, typ, body, allowUnknown)
	e, _ := err.(*apierror.Error)
	if e == nil || strings.Contains(e.Message(), "more than once") {
		return
	}
	wrong, ok := e.Cause().(*json.UnmarshalTypeError)
	if !ok || typ == reflect.TypeFor[order]() { // its types have methods that return other offsets
		return
	}
	path, ok := pathOfOffset(body, wrong.Offset)
	if ok && len(path) < 200 && path != e.Param() {
		t.Fatalf("%v: %q: named %q, the offset is of %q: %v", typ, body, e.Param(), path, wrong)
	}
}

func FuzzDecodeJSONAgainstEncodingJSON(f *testing.F) {
	for i, target := range targets {
		for _, body := range target.valid {
			f.Add([]byte(body), uint8(i), true)
			f.Add([]byte(strings.Replace(body, "1", `"x"`, 1)), uint8(i), false)
		}
	}
	for _, body := range []string{"01", "true1", `"x"1`, "null0", "-0.", `{"kk":1,"Kk":2}`, `{"a":1}]`} {
		f.Add([]byte(body), uint8(10), false)
	}
	f.Fuzz(func(t *testing.T, body []byte, which uint8, allowUnknown bool) {
		if len(bytes.TrimSpace(body)) == 0 {
			return
		}
		compareFault(t, targets[int(which)%len(targets)].t, string(body), allowUnknown)
	})
}
