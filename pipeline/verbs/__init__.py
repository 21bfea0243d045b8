"""The verbs of the command line, one file each: options in, values shown, exit code out."""

from pipeline.verbs.allocate import ALLOCATE
from pipeline.verbs.check import CHECK
from pipeline.verbs.check_trainer import CHECK_TRAINER
from pipeline.verbs.ending import end
from pipeline.verbs.exam import EXAM
from pipeline.verbs.fit import FIT
from pipeline.verbs.forecast import FORECAST
from pipeline.verbs.ledger import LEDGER
from pipeline.verbs.new import NEW
from pipeline.verbs.next import NEXT
from pipeline.verbs.plan import PLAN
from pipeline.verbs.rehearse import REHEARSE
from pipeline.verbs.report import REPORT
from pipeline.verbs.reproduce import REPRODUCE
from pipeline.verbs.rescale import RESCALE
from pipeline.verbs.run import RUN
from pipeline.verbs.status import STATUS
from pipeline.verbs.sync import SYNC
from pipeline.verbs.verb import Verb

__all__ = ["VERBS", "Verb", "end"]

VERBS = (
    *(NEW, CHECK_TRAINER, PLAN, RUN, STATUS, FIT),
    *(FORECAST, LEDGER, CHECK, ALLOCATE, NEXT, REHEARSE, RESCALE, REPRODUCE, REPORT, EXAM, SYNC),
)
