package pgtest

import (
	"io"
	"math"
	"os"
	"path/filepath"
	"sync"
)

// createData creates a data directory in a folder.
func createData(parent string) (dir string, err error) {
	archive, err := initialData()
	if err != nil {
		return "", err
	}
	if dir, err = makeDir(parent, "data"); err != nil {
		return "", err
	}
	tar, err := unprivileged(dir, "tar", "-xf", "-")
	if err != nil {
		return "", err
	}
	tar.Stdin = io.NewSectionReader(archive, 0, math.MaxInt64)
	return dir, run(tar)
}

// initialData returns an archive of a new data directory, because tar is several times as fast as
// initdb. The file no longer has a name, so it vanishes with this process.
var initialData = sync.OnceValues(func() (archive *os.File, err error) {
	parent, err := os.MkdirTemp("", "pgtest")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(parent)
	dir, err := makeDir(parent, "data")
	if err != nil {
		return nil, err
	}
	initdb, err := program(dir, "initdb", "-D", dir, "--no-sync", "--locale=C", "--encoding=UTF8", "-U", "postgres", "--auth=trust")
	if err != nil {
		return nil, err
	}
	if err := run(initdb); err != nil {
		return nil, err
	}
	if archive, err = os.Create(filepath.Join(parent, "data.tar")); err != nil { //nolint:gosec // a new folder
		return nil, err
	}
	tar, err := unprivileged(dir, "tar", "-cf", "-", ".")
	if err != nil {
		return nil, err
	}
	tar.Stdout = archive
	return archive, run(tar)
})
