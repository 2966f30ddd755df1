package reference

import (
	"encoding/json"
	"strings"

	"github.com/seawall-go/seawall/apierror"
)

// jsonSchema returns a JSON Schema (2020-12) of the bodies that an [apierror.Renderer] with this
// catalog sends. For each type, it has an object with the codes of that type.
func (r *Reference) jsonSchema() []byte {
	const defsAt = "#/$defs/"
	var (
		types    object
		variants []any
		codes    []apierror.Code
	)
	examples := []any{}
	for _, t := range errorTypes {
		ds := r.definitionsOf(t.Type)
		if len(ds) == 0 {
			continue
		}
		types = append(types, property{t.Class, object{
			{"description", t.Meaning},
			{"type", "object"},
			{"required", []string{"type", "code"}},
			{"properties", object{
				{"type", object{{"const", t.Type}}},
				{"code", object{{"description", plainList(ds)}, {"enum", codesOf(ds)}}},
			}},
		}})
		variants = append(variants, ref(defsAt+t.Class))
		examples = append(examples, json.RawMessage(r.exampleBody(ds[0])))
		codes = append(codes, codesOf(ds)...)
	}
	if len(variants) == 0 { // no errors are sent
		variants = []any{false}
	}
	typ := object{{"type", "string"}, {"enum", typesOf(errorTypes)}}
	code := object{{"type", "string"}}
	if len(codes) > 0 { // oneOf has them too, but its message about an unknown code is not clear
		code = append(code, property{"enum", codes})
	}
	document := object{
		{"$schema", "https://json-schema.org/draft/2020-12/schema"},
		{"title", r.title},
	}
	document = append(document, envelope(defsAt)...)
	document = append(document, object{
		{"examples", examples},
		{"$defs", append(object{
			{"ErrorObject", append(errorObject(defsAt, typ, code), property{"oneOf", variants})},
			{"ParameterError", parameterError()},
		}, types...)},
	}...)
	return indented(document)
}

// envelope returns the schema of a body. at is the place of the other schemas.
func envelope(at string) object {
	return object{
		{"description", "The body of a response with an error. Other members may be added."},
		{"type", "object"},
		{"required", []string{"error"}},
		{"properties", object{{"error", ref(at + "ErrorObject")}}},
	}
}

func ref(to string) object { return object{{"$ref", to}} }

// errorObject returns the schema of the error object. The schemas of types and codes are the
// caller's. at is the place of the other schemas.
func errorObject(at string, typ, code object) object {
	text := object{{"type", "string"}, {"minLength", 1}}
	schemas := map[string]object{
		"type": typ, "code": code, "message": text, "param": text, "request_id": text, "doc_url": text,
		"errors":   {{"type", "array"}, {"items", ref(at + "ParameterError")}},
		"metadata": {{"type", "object"}, {"additionalProperties", object{{"type", "string"}}}},
	}
	var (
		properties object
		required   []string
	)
	for _, m := range members {
		schema := append(object{{"description", m.Meaning}}, schemas[m.Name]...)
		properties = append(properties, property{m.Name, schema})
		if m.Required {
			required = append(required, m.Name)
		}
	}
	return object{
		{"description", "What went wrong."},
		{"type", "object"},
		{"required", required},
		{"properties", properties},
	}
}

// parameterError returns the schema of an entry of "errors". A renderer sends the code that a
// validator has chosen, which need not be in the catalog.
func parameterError() object {
	describe := func(text string) object { return object{{"description", text}, {"type", "string"}} }
	return object{
		{"description", "One of several parameters at fault."},
		{"type", "object"},
		{"required", []string{"code", "param", "message"}},
		{"properties", object{
			{"code", describe("What is wrong with the parameter, such as `parameter_missing`.")},
			{"param", describe("The parameter, as the client spells it.")},
			{"message", describe("An explanation for the developer of the client. Its wording may change.")},
		}},
	}
}

// plainList returns a line for each code, with its meaning and its resolution.
func plainList(defs []apierror.Definition) string {
	var lines []string
	for _, d := range defs {
		lines = append(lines, strings.TrimSpace("- "+string(d.Code)+": "+explanation(d)))
	}
	return strings.Join(lines, "\n")
}

func codesOf(defs []apierror.Definition) []apierror.Code {
	codes := make([]apierror.Code, len(defs))
	for i, d := range defs {
		codes[i] = d.Code
	}
	return codes
}

func typesOf(types []errorType) []apierror.Type {
	list := make([]apierror.Type, len(types))
	for i, t := range types {
		list[i] = t.Type
	}
	return list
}
