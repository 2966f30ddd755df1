package apierror_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/seawall-go/seawall/apierror"
)

const (
	creditType  = "https://example.com/probs/out-of-credit"
	creditTitle = "You do not have enough credit."
)

// problemOf returns the response to a client that prefers problem details, and the error parsed
// from it.
func problemOf(t *testing.T, rd *apierror.Renderer, err error) (body string, parsed *apierror.Error) {
	t.Helper()
	rd.Problem = true
	w := write(rd, problemType, err)
	equal(t, "Content-Type", w.Header().Get("Content-Type"), problemType)
	if !json.Valid(w.Body.Bytes()) {
		t.Errorf("no JSON: %s", w.Body)
	}
	body = w.Body.String()
	return body, asError(t, apierror.Parse(w.Result()))
}

func TestProblemDetails(t *testing.T) {
	t.Parallel()
	rd := quiet()
	rd.Problem = true
	w := write(rd, "application/problem+json", apierror.ParameterMissing("name"))
	equal(t, "body", w.Body.String(), `{"type":"about:blank","title":"Bad Request","status":400,"detail":"Missing required parameter: name.",`+
		`"instance":"req_Hd92kLpQ7m","code":"parameter_missing","param":"name","request_id":"req_Hd92kLpQ7m"}`+"\n")
	e := asError(t, apierror.Parse(w.Result()))
	equal(t, "parsed", fmt.Sprintf("%v %v %v", e, e.Type(), e.FromServer()), "400 parameter_missing: Missing required parameter: name. (param name, request req_Hd92kLpQ7m) invalid_request_error true")

	rd.DocURL = func(c apierror.Code) string { return "https://docs.example/" + string(c) }
	w = write(rd, "application/problem+json", apierror.ParameterMissing("name"))
	equal(t, "title", strings.HasPrefix(w.Body.String(), `{"type":"https://docs.example/parameter_missing","title":"A required parameter is missing.","status":400,`), true)
	equal(t, "doc_url", asError(t, apierror.Parse(w.Result())).DocURL(), "https://docs.example/parameter_missing")
	w = write(rd, "application/problem+json", apierror.Code("unheard_of"))
	equal(t, "unknown", strings.Contains(w.Body.String(), `"title":"unheard_of"`), true)
}

func TestProblemTypeAndMembersOfAnError(t *testing.T) {
	t.Parallel()
	e := apierror.CodePermissionDenied.Messagef("You have 30.").WithParam("amount").
		WithProblemType(creditType, creditTitle).
		WithProblemMember("balance", 30).
		WithProblemMember("accounts", []string{"/account/12345", "</script>\u2028\xff\x7f"}).
		WithProblemMember("raw", json.RawMessage("[\"\xff\x7f<\", 1]"))

	body, parsed := problemOf(t, quiet(), e)

	equal(t, "body", body, `{"type":"`+creditType+`","title":"`+creditTitle+`","status":403,"detail":"You have 30.",`+
		`"instance":"req_Hd92kLpQ7m","code":"permission_denied","param":"amount","request_id":"req_Hd92kLpQ7m",`+
		`"balance":30,"accounts":["/account/12345","\u003c/script\u003e\u2028\ufffd\u007f"],"raw":["\ufffd\u007f\u003c",1]}`+"\n")
	equal(t, "parsed", fmt.Sprint(parsed.FromServer(), parsed.Status(), parsed.Code(), parsed.Type(), parsed.Message(), parsed.Param(), parsed.RequestID()),
		fmt.Sprint(true, e.Status(), e.Code(), e.Type(), e.Message(), e.Param(), "req_Hd92kLpQ7m"))
	equal(t, "link", parsed.DocURL(), creditType)

	rd := quiet()
	rd.DocURL = func(c apierror.Code) string { return "https://docs.example/" + string(c) }
	body, parsed = problemOf(t, rd, e)
	equal(t, "type, not the documentation", strings.HasPrefix(body, `{"type":"`+creditType+`","title":"`+creditTitle+`"`), true)
	equal(t, "link to the documentation", parsed.DocURL(), "https://docs.example/permission_denied")
}

func TestTitleFollowsFromTheProblemType(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		err    *apierror.Error
		prefix string
	}{
		"a type without a title": {
			apierror.CodePermissionDenied.New().WithProblemType(creditType, ""),
			`{"type":"` + creditType + `","title":"The API key lacks permission for this resource.",`,
		},
		"a title without a type": {
			apierror.CodePermissionDenied.New().WithProblemType("", creditTitle),
			`{"type":"about:blank","title":"Forbidden",`,
		},
		"a type that was taken back": {
			apierror.CodePermissionDenied.New().WithProblemType(creditType, creditTitle).WithProblemType("", ""),
			`{"type":"about:blank","title":"Forbidden",`,
		},
		"only a member": {
			apierror.CodePermissionDenied.New().WithProblemMember("balance", 30),
			`{"type":"about:blank","title":"Forbidden",`,
		},
	} {
		body, _ := problemOf(t, quiet(), row.err)
		equal(t, name, body[:min(len(body), len(row.prefix))], row.prefix)
	}
}

// The error object and the log are the same with and without them.
func TestErrorObjectsHaveNoProblemMembers(t *testing.T) {
	t.Parallel()
	bare := apierror.ParameterMissing("name").WithMetadata("k", "v")
	e := bare.WithProblemType(creditType, creditTitle).WithProblemMember("balance", 30)

	for _, strict := range []bool{false, true} {
		rd := quiet()
		rd.Strict = strict
		a, b := write(rd, "", bare), write(rd, "", e)
		equal(t, "body", b.Body.String(), a.Body.String())
		equal(t, "header", fmt.Sprint(b.Header()), fmt.Sprint(a.Header()))
	}
	a, _ := json.Marshal(bare)
	b, _ := json.Marshal(e)
	equal(t, "MarshalJSON", string(b), string(a))
	equal(t, "Error", e.Error(), bare.Error())
	equal(t, "LogValue", e.LogValue().String(), bare.LogValue().String())
	equal(t, "errors.Is", errors.Is(e, apierror.CodeParameterMissing), true)
}

func TestProblemMembersNeverChange(t *testing.T) {
	t.Parallel()
	accounts := []string{"a"}
	first := apierror.CodePermissionDenied.New().WithProblemMember("accounts", accounts).WithProblemMember("balance", 1)
	accounts[0] = "changed"
	before, _ := problemOf(t, quiet(), first)
	equal(t, "value of then", strings.HasSuffix(before, `,"accounts":["a"],"balance":1}`+"\n"), true)

	second := first.WithProblemMember("accounts", nil)
	third := first.WithProblemMember("more", true)
	_ = first.WithProblemMember("other", true).WithProblemType(creditType, creditTitle)
	after, _ := problemOf(t, quiet(), first)
	equal(t, "original", after, before)
	body, _ := problemOf(t, quiet(), second)
	equal(t, "replaced", strings.HasSuffix(body, `"request_id":"req_Hd92kLpQ7m","balance":1,"accounts":null}`+"\n"), true)
	body, _ = problemOf(t, quiet(), third)
	equal(t, "one more", strings.HasSuffix(body, `,"accounts":["a"],"balance":1,"more":true}`+"\n"), true)
}

func TestInvalidProblemMembersAreLeftOut(t *testing.T) {
	t.Parallel()
	bare, _ := problemOf(t, quiet(), apierror.ParameterMissing("name"))
	for _, name := range []string{"type", "title", "status", "detail", "instance", "code", "param", "request_id", "doc_url", "errors", "metadata"} {
		body, _ := problemOf(t, quiet(), apierror.ParameterMissing("name").WithProblemMember(name, "x"))
		equal(t, name, body, bare)
	}
	for _, value := range []any{func() {}, math.NaN(), json.RawMessage("{")} {
		body, _ := problemOf(t, quiet(), apierror.ParameterMissing("name").WithProblemMember("own", value))
		equal(t, fmt.Sprintf("%T", value), body, bare)
	}

	// A member after which Parse could not read the rest is left out, and the next is not.
	e := apierror.ParameterMissing("name").WithProblemMember("huge", strings.Repeat("x", 60<<10)).WithProblemMember("small", 1)
	body, parsed := problemOf(t, quiet(), e)
	equal(t, "too large", body, strings.TrimSuffix(bare, "}\n")+`,"small":1}`+"\n")
	equal(t, "parsed", parsed.Param(), "name")
}

func TestNilErrorsAcceptProblemMembers(t *testing.T) {
	t.Parallel()
	var e *apierror.Error
	body, _ := problemOf(t, quiet(), e.WithProblemType(creditType, creditTitle).WithProblemMember("balance", 30))
	equal(t, "type", strings.HasPrefix(body, `{"type":"`+creditType), true)
	equal(t, "code", strings.Contains(body, `"code":"api_error"`), true)
	equal(t, "member", strings.HasSuffix(body, `,"balance":30}`+"\n"), true)
}
