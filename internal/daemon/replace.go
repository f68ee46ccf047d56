package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/understudy-ha/understudy/internal/linux"
)

// writeJSON replaces a file of the runtime directory.
func writeJSON(path string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return linux.ReplaceFile(path, append(b, '\n'), 0o600, false)
}

// saveJSON replaces a file of the state directory.
func saveJSON(path string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return linux.ReplaceFile(path, append(b, '\n'), 0o600, true)
}

// readJSON leaves v as it is where there is no file.
func readJSON(path string, v any) error {
	b, err := linux.ReadRegular(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}
