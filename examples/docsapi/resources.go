package main

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/seawall-go/seawall/apierror"
)

// resource is what the API keeps.
type resource struct {
	ID       string            `json:"id"`
	Name     string            `json:"name"`
	Metadata map[string]string `json:"metadata"`
}

// The limits of a resource, in characters and entries.
const (
	maxName          = 100
	maxMetadata      = 50
	maxMetadataKey   = 40
	maxMetadataValue = 500
)

// params are what a client may set. What it leaves out is nil.
type params struct {
	Name     *string           `json:"name"`
	Metadata map[string]string `json:"metadata"`
}

func (p params) validate() error {
	if p.Name != nil {
		switch n := utf8.RuneCountInString(*p.Name); {
		case n == 0:
			return apierror.ParameterMissing("name")
		case n > maxName:
			return apierror.ParameterInvalid("name", fmt.Sprintf("must have at most %d characters", maxName))
		case !isText(*p.Name):
			return apierror.ParameterInvalid("name", mustBeText)
		}
	}
	if len(p.Metadata) > maxMetadata {
		return apierror.ParameterInvalid("metadata", fmt.Sprintf("must have at most %d entries", maxMetadata))
	}
	for key, value := range p.Metadata {
		switch {
		case key == "" || utf8.RuneCountInString(key) > maxMetadataKey:
			return apierror.ParameterInvalid("metadata", fmt.Sprintf("must have keys of 1 to %d characters", maxMetadataKey))
		case utf8.RuneCountInString(value) > maxMetadataValue:
			return apierror.ParameterInvalid("metadata", fmt.Sprintf("must have values of at most %d characters", maxMetadataValue))
		case !isText(key) || !isText(value):
			return apierror.ParameterInvalid("metadata", mustBeText)
		}
	}
	return nil
}

const mustBeText = "must be UTF-8 without NUL"

// isText reports whether both databases can hold a string.
func isText(s string) bool { return utf8.ValidString(s) && !strings.Contains(s, "\x00") }

// The media types of a request.
const (
	jsonType = "application/json"
	formType = "application/x-www-form-urlencoded"
)

// decode reads parameters, from JSON or from a form such as name=first&metadata[color]=blue.
func decode(w http.ResponseWriter, r *http.Request) (p params, err error) {
	switch mediaType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); mediaType {
	case formType:
		p, err = decodeForm(r)
	case jsonType:
		err = apierror.DecodeJSON(w, r, &p, nil)
	default:
		err = apierror.UnsupportedMediaType(jsonType, formType)
	}
	if err != nil {
		return params{}, err
	}
	return p, p.validate()
}

func decodeForm(r *http.Request) (p params, err error) {
	if err := r.ParseForm(); err != nil {
		return params{}, err
	}
	for field, values := range r.PostForm {
		key, isMetadata := strings.CutPrefix(strings.TrimSuffix(field, "]"), "metadata[")
		switch {
		case len(values) > 1:
			return params{}, apierror.ParameterInvalid(field, "must be given once")
		case field == "name":
			p.Name = &values[0]
		case isMetadata && strings.HasSuffix(field, "]"):
			if p.Metadata == nil {
				p.Metadata = make(map[string]string)
			}
			p.Metadata[key] = values[0]
		default:
			return params{}, apierror.ParameterInvalid(field, "is not known")
		}
	}
	return p, nil
}

func (s *service) create(w http.ResponseWriter, r *http.Request) error {
	in, err := decode(w, r)
	if err != nil {
		return err
	}
	if in.Name == nil {
		return apierror.ParameterMissing("name")
	}
	created := resource{ID: "res_" + rand.Text(), Name: *in.Name, Metadata: in.Metadata}
	if created.Metadata == nil {
		created.Metadata = map[string]string{}
	}
	if err := s.store.insert(r.Context(), keyOf(r).account, created); err != nil {
		return err
	}
	w.Header().Set("Location", "/v1/resources/"+created.ID)
	return writeJSON(w, http.StatusCreated, created)
}

// idOf returns the id in the path of a request. If a database could not hold it, idOf returns "",
// which no resource has.
func idOf(r *http.Request) string {
	if id := r.PathValue("id"); isText(id) {
		return id
	}
	return ""
}

func (s *service) get(w http.ResponseWriter, r *http.Request) error {
	found, err := s.store.find(r.Context(), keyOf(r).account, idOf(r))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, found)
}

func (s *service) update(w http.ResponseWriter, r *http.Request) error {
	in, err := decode(w, r)
	if err != nil {
		return err
	}
	updated, err := s.store.update(r.Context(), keyOf(r).account, idOf(r), in)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, updated)
}

func (s *service) delete(w http.ResponseWriter, r *http.Request) error {
	id := idOf(r)
	if err := s.store.remove(r.Context(), keyOf(r).account, id); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, deletion{ID: id, Deleted: true})
}

// deletion is the answer to a DELETE. It has a body, so that all answers are JSON.
type deletion struct {
	ID      string `json:"id"`
	Deleted bool   `json:"deleted"`
}

// page is a part of the list of resources.
type page struct {
	Data       []resource `json:"data"`
	NextCursor string     `json:"next_cursor,omitempty"` // absent on the last page
}

// The number of resources on a page.
const (
	defaultLimit = 20
	maxLimit     = 100
)

// list answers with resources in the order in which they were created.
func (s *service) list(w http.ResponseWriter, r *http.Request) error {
	after, limit, err := decodeQuery(r.URL.RawQuery)
	if err != nil {
		return err
	}
	resources, next, err := s.store.list(r.Context(), keyOf(r).account, after, limit)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, page{Data: resources, NextCursor: encodeCursor(next)})
}

// decodeQuery reads the parameters of a list. What is empty has its default.
func decodeQuery(query string) (after int64, limit int, err error) {
	limit = defaultLimit
	values, err := url.ParseQuery(query) // unlike URL.Query, it does not ignore what is malformed
	if err != nil {
		return 0, 0, err
	}
	for name, texts := range values {
		switch text := texts[0]; {
		case len(texts) > 1:
			err = apierror.ParameterInvalid(name, "must be given once")
		case name != "limit" && name != "cursor":
			err = apierror.ParameterInvalid(name, "is not known")
		case text == "":
		case name == "cursor":
			after, err = decodeCursor(text)
		default:
			limit, err = strconv.Atoi(text)
			if err != nil || limit < 1 || limit > maxLimit {
				err = apierror.ParameterInvalid("limit", fmt.Sprintf("must be a number from 1 to %d", maxLimit))
			}
		}
		if err != nil {
			return 0, 0, err
		}
	}
	return after, limit, nil
}

// A cursor is the number of the last resource of a page, in a form that clients do not calculate
// with.
const cursorPrefix = "cur_"

func encodeCursor(number int64) string {
	if number == 0 {
		return ""
	}
	return cursorPrefix + strconv.FormatInt(number, 36)
}

func decodeCursor(cursor string) (number int64, err error) {
	text, ok := strings.CutPrefix(cursor, cursorPrefix)
	number, err = strconv.ParseInt(text, 36, 64)
	if !ok || err != nil || number < 0 || encodeCursor(number) != cursor {
		return 0, apierror.ParameterInvalid("cursor", "must be the next_cursor of a page")
	}
	return number, nil
}

func writeJSON(w http.ResponseWriter, status int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	body = append(body, '\n')
	w.Header().Set("Content-Type", jsonType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	w.Write(body) // it fails only if the client has gone
	return nil
}
