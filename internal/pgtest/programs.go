package pgtest

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// Installed returns the folder with the programs of PostgreSQL, or an error if there is none. It is
// the folder of postgres on the PATH after symbolic links, or else the newest of
// /usr/lib/postgresql/*/bin, where Debian installs them.
func Installed() (dir string, err error) {
	if path, err := exec.LookPath("postgres"); err == nil {
		path, err = filepath.EvalSymlinks(path)
		return filepath.Dir(path), err
	}
	paths, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if len(paths) == 0 {
		return "", errors.New("pgtest: no postgres: run make deps")
	}
	version := func(path string) float64 { // such as 15, or 9.6
		v, _ := strconv.ParseFloat(filepath.Base(filepath.Dir(filepath.Dir(path))), 64)
		return v
	}
	newest := slices.MaxFunc(paths, func(a, b string) int { return cmp.Compare(version(a), version(b)) })
	return filepath.Dir(newest), nil
}

// program returns a command that runs a program of PostgreSQL in a folder, as unprivileged does.
func program(dir, name string, args ...string) (*exec.Cmd, error) {
	bin, err := Installed()
	if err != nil {
		return nil, err
	}
	return unprivileged(dir, filepath.Join(bin, name), args...)
}

// unprivileged returns a command in a folder. If this process is root, the command runs as the user
// nobody, because PostgreSQL refuses root.
func unprivileged(dir, path string, args ...string) (*exec.Cmd, error) {
	cmd := exec.Command(path, args...) //nolint:gosec,noctx // of tests; Kill and Stop end the server
	cmd.Dir = dir
	cmd.SysProcAttr = new(syscall.SysProcAttr)
	if os.Getuid() != 0 {
		return cmd, nil
	}
	uid, gid, err := nobody()
	cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return cmd, err
}

// makeDir creates a folder for an unprivileged command, in a folder that such a command may enter
// from then on.
func makeDir(parent, name string) (dir string, err error) {
	dir = filepath.Join(parent, name)
	if err := os.Mkdir(dir, 0o700); err != nil || os.Getuid() != 0 {
		return dir, err
	}
	uid, gid, err := nobody()
	if err != nil {
		return "", err
	}
	return dir, errors.Join(os.Chown(dir, uid, gid), os.Chmod(parent, 0o755)) //nolint:gosec // see above
}

func nobody() (uid, gid int, err error) {
	u, err := user.Lookup("nobody")
	if err != nil {
		return 0, 0, err
	}
	uid, uidErr := strconv.Atoi(u.Uid)
	gid, gidErr := strconv.Atoi(u.Gid)
	return uid, gid, errors.Join(uidErr, gidErr)
}

// run runs a command. Its error contains what the command has written to stderr.
func run(cmd *exec.Cmd) error {
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("pgtest: %s: %w: %s", filepath.Base(cmd.Path), err, stderr.String())
	}
	return nil
}
