package apierror_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func TestDecodeJSONFindsDuplicatesInWideStructs(t *testing.T) {
	t.Parallel()
	fields := make([]reflect.StructField, 130)
	for i := range fields {
		fields[i] = reflect.StructField{
			Name: fmt.Sprintf("F%d", i), Type: reflect.TypeFor[int](), Tag: reflect.StructTag(fmt.Sprintf(`json:"f%d"`, i)),
		}
	}
	typ := reflect.StructOf(fields)
	var all []string
	for i := range fields {
		all = append(all, fmt.Sprintf(`"f%d":1`, i))
	}
	param, message := fault(t, reflect.New(typ).Interface(), "{"+strings.Join(all, ",")+"}")
	equal(t, "the fault of a body with each member once", param+message, "")
	for _, i := range []int{0, 1, 63, 64, 65, 127, 128, 129} {
		name := fmt.Sprintf("f%d", i)
		param, _ := fault(t, reflect.New(typ).Interface(), "{"+strings.Join(all, ",")+`,"`+name+`":1}`)
		equal(t, "the member that is given twice", param, name)
	}
}

func TestDecodeJSONIgnoresAmbiguousFields(t *testing.T) {
	t.Parallel()
	typ := reflect.StructOf([]reflect.StructField{
		{Name: "A", Type: reflect.TypeFor[int](), Tag: `json:"x"`},
		{Name: "B", Type: reflect.TypeFor[string](), Tag: `json:"x"`},
	})
	param, message := fault(t, reflect.New(typ).Interface(), `{"x":true}`)
	equal(t, "param", param, "x")
	equal(t, "message", message, "Invalid parameter: x is not known.")
}

type (
	word  string
	inner struct{ N int }
)

func TestDecodeJSONKnowsMembersOfEmbeddedTypes(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{`{"word":"a"}`: "word", `{"N":1,"nope":1}`: "nope", `{"N":"x"}`: "N"} {
		v := new(struct {
			word
			inner
		})
		param, _ := fault(t, v, body)
		equal(t, "the param of "+body, param, want)
	}
}

func TestDecodeJSONPrefersTheFirstFieldThatDiffersInCase(t *testing.T) {
	t.Parallel()
	var fields []reflect.StructField
	for i, name := range []string{"abcd", "ABCD", "Abcd", "aBcd", "abCd", "abcD", "ABcd", "abCD"} {
		typ := reflect.TypeFor[int]()
		if i == 0 {
			typ = reflect.TypeFor[string]()
		}
		fields = append(fields, reflect.StructField{
			Name: fmt.Sprintf("F%d", i), Type: typ, Tag: reflect.StructTag(`json:"` + name + `"`),
		})
	}
	param, message := fault(t, reflect.New(reflect.StructOf(fields)).Interface(), `{"AbCd":1}`)
	equal(t, "param", param, "AbCd")
	equal(t, "message", message, "Invalid parameter: AbCd must be a string.")
}

func TestDecodeJSONPrefersTaggedFields(t *testing.T) {
	t.Parallel()
	typ := reflect.StructOf([]reflect.StructField{
		{Name: "A", Type: reflect.TypeFor[string](), Tag: `json:"B"`}, {Name: "B", Type: reflect.TypeFor[int]()},
	})
	_, message := fault(t, reflect.New(typ).Interface(), `{"B":true}`)
	equal(t, "message", message, "Invalid parameter: B must be a string.")
}
