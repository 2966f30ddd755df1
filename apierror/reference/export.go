package reference

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/seawall-go/seawall/apierror"
)

// exportVersion is the version of the export's format. It increases when the format changes so
// that an older Parse would misunderstand it.
const exportVersion = 1

// maxFaults is how many invalid definitions an error names, so that it is short whatever the
// export holds.
const maxFaults = 10

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

// Parse reads an export of a catalog: a document in [FormatJSON]. If o is nil, the defaults apply.
// Parse returns an error if the document is not an export, or has another version, or has invalid
// definitions. The error then names the first of them. Like New, Parse panics if o is invalid.
func Parse(document []byte, o *Options) (*Reference, error) {
	var head struct{ Version int } // another version may have another form
	if err := json.Unmarshal(document, &head); err != nil {
		return nil, fmt.Errorf("reference: the document is not an export of a catalog: %w", err)
	}
	if head.Version != exportVersion {
		return nil, fmt.Errorf("reference: the export has version %d instead of %d", head.Version, exportVersion)
	}
	var x export
	if err := json.Unmarshal(document, &x); err != nil {
		return nil, fmt.Errorf("reference: the document is not an export of a catalog: %w", err)
	}
	if x.Codes == nil { // any document may have a version
		return nil, errors.New(`reference: the export has no "codes"`)
	}
	defs := make([]apierror.Definition, len(x.Codes))
	seen := make(map[apierror.Code]bool)
	var faults []error
	for i, c := range x.Codes {
		d, err := c.definition()
		if err == nil && seen[c.Code] {
			err = fmt.Errorf("reference: the export defines the code %q twice", string(c.Code))
		}
		if err != nil {
			faults = append(faults, err)
		}
		if len(faults) == maxFaults {
			break
		}
		defs[i], seen[c.Code] = d, true
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

// definition returns the definition, or an error that names what is wrong with it.
func (c exportedCode) definition() (apierror.Definition, error) {
	d := apierror.Definition{Code: c.Code, Type: c.Type, Status: c.Status, Message: c.Message, Description: c.Description, Resolution: c.Resolution}
	if err := d.Validate(); err != nil {
		return d, err
	}
	if c.Retryable && !d.Retryable() {
		return d, fmt.Errorf("reference: the code %q cannot be retryable with status %d", string(c.Code), c.Status)
	}
	d.NotRetryable = !c.Retryable && d.Retryable()
	return d, nil
}
