package reference

import (
	"bytes"
	"encoding/json"

	"github.com/seawall-go/seawall/apierror"
)

// The values in examples. The renderer has the real ones from the request.
const (
	exampleRequestID = "req_Hd92kLpQ7mXw3TzB"
	exampleParam     = "name"
)

// exampleBody returns the body of a response with the definition's default message, indented.
func (r *Reference) exampleBody(d apierror.Definition) string {
	e := d.New()
	if d.Code == apierror.CodeParameterMissing || d.Code == apierror.CodeParameterInvalid {
		e = e.WithParam(exampleParam)
	}
	object, _ := e.MarshalJSON() // never fails
	object = bytes.TrimSuffix(object, []byte("}"))
	body := `{"error":` + string(object) + `,"request_id":"` + exampleRequestID + `"}}`
	var b bytes.Buffer
	_ = json.Indent(&b, []byte(body), "", "  ") // body is valid JSON
	return string(escapeInvisible(b.Bytes()))
}
