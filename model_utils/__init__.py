import sys

from model_utils.errors import say_what_is_missing

# Without this a missing package would end a program with a traceback, because imports come before ``run_main``.
sys.excepthook = say_what_is_missing
