"""The command `odekit` in this process: its exit status and what it prints."""

from analysis.cli import main


def answer(capsys, *arguments):
    status = main(list(arguments))
    out, err = capsys.readouterr()
    return status, out, err


def refused(capsys, *arguments):
    status, out, err = answer(capsys, *arguments)
    assert status == 2, (status, out, err)
    assert out == "" and err.count("\n") == 1 and err.startswith("odekit: ") and "Traceback" not in err
    return err
