import sys

from model_utils.errors import say_what_is_missing

# Entry points import what they need before any of their code runs: without this a package that is not installed would
# end them with a traceback.
sys.excepthook = say_what_is_missing
