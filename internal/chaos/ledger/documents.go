package ledger

import (
	"os"
	"path/filepath"
)

// The files below the root of the repository.
const (
	File          = "docs/chaos/ledger.json" // the committed ledger
	pageFile      = "docs/CHAOS.md"
	semanticsFile = "docs/SEMANTICS.md"
)

// Documents returns what follows from the ledger, by file name. The text is that of
// docs/SEMANTICS.md, whose tables get numbers.
func (l *Ledger) Documents(text []byte) (map[string][]byte, error) {
	page, err := l.page()
	if err != nil {
		return nil, err
	}
	filled, err := l.semantics(text)
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{
		pageFile:                     page,
		semanticsFile:                filled,
		"docs/chaos/unavailable.svg": l.plotUnavailable(),
		"docs/chaos/hits.svg":        l.plotHits(),
	}
	if l.Limits != nil {
		files["docs/chaos/limits.svg"] = l.plotLimits()
	}
	if l.BrownOut != nil {
		files["docs/chaos/brownout.svg"] = l.plotBrownOut()
	}
	return files, nil
}

// Publish writes the documents below the root of the repository.
func (l *Ledger) Publish(root string) error {
	text, err := os.ReadFile(filepath.Join(root, semanticsFile)) //nolint:gosec // G304: a file of the repository
	if err != nil {
		return err
	}
	files, err := l.Documents(text)
	if err != nil {
		return err
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(root, name), content, 0o600); err != nil {
			return err
		}
	}
	return nil
}
