package reference

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/seawall-go/seawall/apierror"
)

// exportVersion is the version of the export's format. It grows when an older Parse would
// misunderstand the export.
const exportVersion = 1

// export is a catalog as data, in FormatJSON.
type export struct {
	Version int            `json:"version"`
	Title   string         `json:"title"`
	Codes   []exportedCode `json:"codes"`
}

// exportedCode is an [apierror.Definition] as data.
type exportedCode struct {
	Code        apierror.Code `json:"code"`
	Type        apierror.Type `json:"type"`
	Status      int           `json:"status"`
	Retryable   bool          `json:"retryable"`
	Message     string        `json:"message"`
	Description string        `json:"description,omitempty"`
	Resolution  string        `json:"resolution,omitempty"`
}

func (r *Reference) exportJSON() []byte {
	x := export{Version: exportVersion, Title: r.title, Codes: []exportedCode{}}
	for _, d := range r.defs {
		x.Codes = append(x.Codes, exportedCode{d.Code, d.Type, d.Status, d.Retryable(), d.Message, d.Description, d.Resolution})
	}
	return indented(x)
}

// Parse reads an export of a catalog: a document in [FormatJSON]. The title of the result is that
// of the export, unless o has one. The error says which definitions are invalid.
func Parse(document []byte, o *Options) (*Reference, error) {
	var x export
	dec := json.NewDecoder(bytes.NewReader(document))
	if err := dec.Decode(&x); err != nil {
		return nil, fmt.Errorf("reference: the export is not JSON of the expected form: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("reference: there is something after the export")
	}
	if x.Version != exportVersion {
		return nil, fmt.Errorf("reference: the export has version %d instead of %d", x.Version, exportVersion)
	}
	defs := make([]apierror.Definition, len(x.Codes))
	seen := make(map[apierror.Code]bool, len(x.Codes))
	var faults []error
	for i, c := range x.Codes {
		d := apierror.Definition{Code: c.Code, Type: c.Type, Status: c.Status, Message: c.Message, Description: c.Description, Resolution: c.Resolution}
		faults = append(faults, d.Validate())
		if seen[c.Code] {
			faults = append(faults, fmt.Errorf("reference: the export defines the code %q twice", string(c.Code)))
		}
		seen[c.Code] = true
		if c.Retryable && !d.Retryable() {
			faults = append(faults, fmt.Errorf("reference: the code %q cannot be retryable with status %d", string(c.Code), c.Status))
		}
		d.NotRetryable = !c.Retryable && d.Retryable()
		defs[i] = d
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	options := Options{Title: x.Title}
	if o != nil {
		options.Title, options.GoPackage = cmp.Or(o.Title, x.Title), o.GoPackage
	}
	return newReference(defs, &options), nil
}

// indented returns v as indented JSON that ends in a newline.
func indented(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", "  ")
	_ = enc.Encode(v) // v is made of strings, numbers and booleans
	return b.Bytes()
}
