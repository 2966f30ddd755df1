package resourcesapi //nolint:revive // the package comment is in a generated file

// The document openapi.yaml refers to the error object in errors.openapi.json, which
// seawall-catalog exports. oapi-codegen generates the server from it.

//go:generate go run github.com/seawall-go/seawall/cmd/seawall-catalog export -format openapi -o errors.openapi.json
//go:generate go run github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen@v2.8.2 -config errors.oapi-codegen.yaml errors.openapi.json
//go:generate go run github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen@v2.8.2 -config oapi-codegen.yaml openapi.yaml

import (
	"strings"

	"github.com/seawall-go/seawall/apierror"
)

// ResourceID is the type of the parameter id. It refuses values that cannot be an id.
type ResourceID string

// UnmarshalText implements [encoding.TextUnmarshaler].
func (id *ResourceID) UnmarshalText(text []byte) error {
	if *id = ResourceID(text); !strings.HasPrefix(string(text), "res_") {
		return apierror.ParameterInvalid("id", "must begin with res_")
	}
	return nil
}
