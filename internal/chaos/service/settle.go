package service

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/internal/chaos/history"
)

// retention is how long a settled record is kept: the default of idempotent.Options.
const retention = 24 * time.Hour

// serveSettle is what an operator does about an unknown outcome: it finds out what happened, and
// settles the record. The answer is 204, and 409 not_unknown if the outcome is not unknown.
func (s *server) serveSettle(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		Key    string      `json:"key"`
		Way    history.Way `json:"way"`
		Amount int         `json:"amount"`
	}
	if err := apierror.DecodeJSON(w, r, &in, nil); err != nil {
		return err
	}
	principal, err := s.principal(r)
	if err != nil {
		return err
	}
	end, err := s.findOut(r.Context(), payment{keyOf(r.Header.Get("X-Principal"), in.Key), in.Amount}, in.Way)
	if err != nil {
		return unavailable(err)
	}
	id := s.options().ID(principal, in.Key)
	switch err := s.resolver.Resolve(r.Context(), id, end); {
	case errors.Is(err, idempotent.ErrNotUnknown):
		return codeNotUnknown
	case err != nil:
		return unavailable(err)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// findOut returns how an unknown record is settled. For a charge, the provider makes sure that
// there will be none later. A row is in the transaction of the mark: without the row, there is no
// mark.
func (s *server) findOut(ctx context.Context, x payment, way history.Way) (idempotent.Completion, error) {
	if !way.Transactional() {
		found, err := s.payments.settle(ctx, x)
		switch {
		case err != nil:
			return idempotent.Completion{}, err
		case found.Receipt != nil:
			return answerOf(http.StatusCreated, *found.Receipt, nil).Completion(retention), nil
		}
		return settledWithout(x.key).Completion(retention), nil
	}
	if s.db == nil {
		return idempotent.Completion{}, apierror.ParameterInvalid("way", "needs a database")
	}
	e, ok, err := s.db.find(ctx, x.key)
	switch {
	case err != nil:
		return idempotent.Completion{}, err
	case ok:
		return answerOf(http.StatusCreated, answerTo(e), nil).Completion(retention), nil
	}
	return idempotent.Completion{State: idempotent.StateAbsent}, nil
}
