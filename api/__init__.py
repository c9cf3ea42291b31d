"""The thin API: it writes promises down, nudges, waits and shows. It moves no source's bytes."""
